"""One camera's stream: settings, a bounded memory, and `step` for each new frame."""

from __future__ import annotations

import math
import numbers
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

from .errors import FrameError, SettingError
from .generation import Context, Gaze, Request
from .preprocessing import check_frame

if TYPE_CHECKING:
    from .autogaze import AutoGaze

POLICIES: Final = ("slide", "restart")


class Keep:
    """Type of `KEEP`: 'leave this setting as it is' where None already means 'no threshold'."""

    def __repr__(self) -> str:
        return "KEEP"


KEEP: Final = Keep()


def check_ratio(value: Any) -> float:
    """A gazing ratio in (0, 1]; raises a `SettingError` for anything else."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not 0 < float(value) <= 1:
        raise SettingError(f"gazing_ratio must lie in (0, 1], is {value!r}")
    return float(value)


def check_loss(value: Any) -> float | None:
    """A loss threshold: a finite number, or None for none; raises a `SettingError` for anything else."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not math.isfinite(float(value)):
        raise SettingError(f"task_loss_requirement must be a finite number or None, is {value!r}")
    return float(value)


def check_window(value: Any) -> int:
    """A history length in frames, at least 1; raises a `SettingError` for anything else."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or int(value) < 1:
        raise SettingError(f"window must be a whole number of frames, at least 1, is {value!r}")
    return int(value)


class Stream:
    """A stream of frames of one size, remembered for `window` frames; made by `AutoGaze.stream`.

    What happens once `window` frames are remembered:

    * `slide`: before each further frame the oldest one is forgotten, whole. The keys and values of the
      frames that remain were computed while it was still seen, and stay as they are: a trace of it lives on in
      them, as the network never meets in training, but there is no jump from one frame to the next.
    * `restart`: the whole context is forgotten and the next frame is a first frame, as where a long clip is cut
      into chunks. Each chunk is what the network was trained on; each first frame takes many tokens again.

    Settings can be changed between frames. Not for use by two threads at once (a model's streams may be).
    """

    def __init__(
        self,
        model: AutoGaze,
        context: Context,
        gazing_ratio: float,
        task_loss_requirement: float | None,
        policy: str,
    ) -> None:
        self._model = model
        self._context = context
        self._policy = policy
        self._size: tuple[int, int] | None = None
        self.gazing_ratio = gazing_ratio
        self.task_loss_requirement = task_loss_requirement

    @property
    def gazing_ratio(self) -> float:
        """Largest share of a frame's ids that may be chosen, in (0, 1]."""
        return self._gazing_ratio

    @gazing_ratio.setter
    def gazing_ratio(self, value: float) -> None:
        self._gazing_ratio = check_ratio(value)

    @property
    def task_loss_requirement(self) -> float | None:
        """Predicted loss at which a frame is seen well enough, or None: use the whole budget."""
        return self._task_loss_requirement

    @task_loss_requirement.setter
    def task_loss_requirement(self, value: float | None) -> None:
        self._task_loss_requirement = check_loss(value)

    @property
    def window(self) -> int:
        """Most frames remembered, the current one included."""
        return self._context.window

    @property
    def policy(self) -> str:
        """`slide` or `restart`."""
        return self._policy

    @property
    def frame_size(self) -> tuple[int, int] | None:
        """(height, width) that this stream's frames have; None before the first one."""
        return self._size

    @property
    def frames_remembered(self) -> int:
        """Frames in memory now, at most `window`."""
        return len(self._context.history.frames)

    @property
    def tokens_remembered(self) -> int:
        """Decoder tokens in memory now."""
        return self._context.history.length

    def nbytes(self) -> int:
        """Bytes of memory that this stream holds on the model's device; constant over its life."""
        memory = self._context.vision_memory
        return self._context.history.nbytes() + memory.numel() * memory.element_size()

    @torch.inference_mode()
    def reset(self) -> None:
        """Forget everything: the next frame is a first frame and may have another size."""
        self._context.clear()
        self._size = None

    def step(
        self,
        frame: np.ndarray | torch.Tensor,
        *,
        gazing_ratio: float | None = None,
        task_loss_requirement: float | Keep | None = KEEP,
        bgr: bool = False,
    ) -> Gaze:
        """Look at the next frame.

        Args:
            frame: uint8 (height, width, 3), RGB, array or tensor; as large as the frames before it.
            gazing_ratio: another ratio for this frame alone, e.g. a larger one for a keyframe.
            task_loss_requirement: another loss threshold (None: none) for this frame alone.
            bgr: the frame's channels are in the order blue, green, red.

        Raises:
            FrameError, SettingError: the stream is unchanged and can go on.
            DeviceError: e.g. out of memory; the stream has been reset.
        """
        return self._model.step([self], [frame], gazing_ratio=gazing_ratio,
                                task_loss_requirement=task_loss_requirement, bgr=bgr)[0]  # fmt: skip

    def _check(self, frame: Any) -> tuple[int, int]:
        size = check_frame(frame)
        if self._size is not None and size != self._size:
            raise FrameError(
                f"a frame of {size[0]} x {size[1]} (height x width) in a stream of {self._size[0]} x {self._size[1]}; "
                "call reset() where the picture's size changes"
            )
        return size

    def _begin(self, size: tuple[int, int]) -> None:
        self._size = size
        if self._policy == "restart" and self.frames_remembered == self.window:
            self._context.clear()

    def _request(self, gazing_ratio: float | None, task_loss_requirement: float | Keep | None) -> Request:
        ratio = self._gazing_ratio if gazing_ratio is None else check_ratio(gazing_ratio)
        if isinstance(task_loss_requirement, Keep):
            loss = self._task_loss_requirement
        else:
            loss = check_loss(task_loss_requirement)
        return Request(budget=self._model.config.budget(ratio), loss=loss)
