"""One picture of each view."""

from __future__ import annotations

from pathlib import Path

import cv2

from ..gaze.frame import Frame
from ..pipeline import Pipeline
from ..replay.clips import ClipError, DrawnClip, Video
from ..settings import VIEWS, Settings
from .reconstruction import Reconstruction
from .views import draw_view


def draw_gallery(out: Path, video: Path | None, number: int | None, settings: Settings) -> None:
    """Gaze at a clip up to a frame and write that frame's views as JPEG files, the transparent one as PNG.

    Args:
        out: folder.
        video: the clip; the drawn one where None.
        number: of the frame, from 0; None takes frame 100, or the last one of a shorter clip.
        settings: of the pipeline.

    Raises:
        ClipError: the clip can't be read or is shorter.
    """
    pipeline, reconstruction = Pipeline(settings), Reconstruction()
    clip = Video(video) if video else DrawnClip()
    for index, picture in enumerate(clip):
        frame = Frame(picture, stamp=round(index / clip.rate * 1e9))
        gaze = pipeline.step(frame)
        output = reconstruction.update(frame, gaze)
        if index == (100 if number is None else number):
            break
    else:
        if number is not None:
            raise ClipError(f"the clip ends before frame {number}")
    out.mkdir(parents=True, exist_ok=True)
    for view in VIEWS:
        drawn = draw_view(view, frame, gaze, output, settings.mask_style, settings.opacity)
        code = cv2.COLOR_RGBA2BGRA if drawn.shape[2] == 4 else cv2.COLOR_RGB2BGR
        path = out / f"{view}.{'png' if drawn.shape[2] == 4 else 'jpg'}"  # JPEG knows no transparency
        cv2.imwrite(str(path), cv2.cvtColor(drawn, code))
        print(path)
