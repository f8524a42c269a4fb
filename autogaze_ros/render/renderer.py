"""The pictures that somebody wants of a stream's frames, and no work for the others."""

from __future__ import annotations

from dataclasses import dataclass

from ..gaze.frame import Frame, Image
from ..gaze.gaze_frame import GazeFrame
from ..pipeline import Pipeline
from ..settings import Settings
from .reconstruction import Reconstruction
from .views import RECONSTRUCTION_VIEWS, draw_view


@dataclass(frozen=True)
class Wanted:
    """What is to be made of a frame besides its fixations and mask."""

    #: the view that the settings name
    overlay: bool = False
    reconstruction: bool = False


class Renderer:
    """Makes one stream's pictures as its settings say."""

    def __init__(self) -> None:
        self._reconstruction = Reconstruction()

    def reconstruct(self, frame: Frame, gaze: GazeFrame, pipeline: Pipeline, wanted: Wanted) -> Image:
        """The picture that a receiver shows, where anything wanted shows it; else the frame's own, untouched.

        Args:
            frame: the image.
            gaze: its gaze.
            pipeline: that has just made the gaze.
            wanted: pictures of this frame.

        Returns:
            (H, W, 3) uint8 in the frame's channel order; the next call may change it.
        """
        settings = pipeline.settings
        shown = wanted.overlay and settings.view in RECONSTRUCTION_VIEWS
        if not (wanted.reconstruction or shown):
            return frame.pixels
        if settings.reconstruction_fill == "token":
            return pipeline.token_picture(frame)
        return self._reconstruction.update(frame, gaze)

    @staticmethod
    def draw(frame: Frame, gaze: GazeFrame, reconstruction: Image, settings: Settings) -> Image:
        """The view that the settings name, see :func:`draw_view`; of a reconstruction made with it wanted."""
        return draw_view(
            settings.view,
            frame,
            gaze,
            reconstruction,
            settings.mask_style,
            settings.opacity,
            settings.annotate,
        )
