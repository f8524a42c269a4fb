"""The AutoGaze source: the model, streaming."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from ..frame import Frame
from ..receiver import TokenReceiver
from ..tokens import TokenLayout
from .base import Gaze, Limits, SourceError


class AutoGazeSource:
    """Gazes where the AutoGaze model looks; a keyframe begins its history anew.

    Confidence is the probability of the token among those still allowed in its slot.

    Args:
        folder: model folder with config.json, preprocessor_config.json and model.safetensors.
        device: "auto" (the first GPU, else the CPU), "cpu", "cuda" or "cuda:N".
        dtype: "float32", "bfloat16" or "float16".
        window: frames of history.
        history: "slide" lets the oldest frame go, "restart" begins anew every ``window`` frames.
        say: told what is being done, as loading takes seconds.

    Raises:
        SourceError: no torch, no such device, or a folder that can't be loaded; the message says which part of it.
    """

    name = "autogaze"

    def __init__(
        self,
        folder: Path,
        device: str = "auto",
        dtype: str = "float32",
        window: int = 16,
        history: str = "slide",
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        try:
            import torch
        except ImportError as error:
            raise SourceError("the source autogaze needs PyTorch: pip install 'torch>=2.4'") from error
        from ...model import AutoGaze, ModelError

        if str(folder) in ("", "."):
            raise SourceError(
                "the source autogaze needs the parameter model: a folder with model.safetensors"
            )
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        self._failures: tuple[type[Exception], ...] = (ModelError, torch.cuda.OutOfMemoryError)
        try:
            say(f"loading the model {folder} on {device}")
            self._model = AutoGaze.from_folder(folder, device, getattr(torch, dtype), progress=say)
            config = self._model.config
            self._stream = self._model.stream(window=window, policy=history)
        except self._failures as error:
            raise SourceError(f"the model {folder} can't be used: {error}") from error
        self.model = folder.name
        self.device = device
        self.layout = TokenLayout(config.grids, config.patch_size)

    def step(self, frame: Frame, receiver: TokenReceiver, limits: Limits, keyframe: bool) -> Gaze:
        """Choose by the model; the receiver is not asked."""
        if keyframe:
            self._stream.reset()
        try:
            gaze = self._stream.step(
                frame.pixels,
                # Half a token more, so that the model's floor(ratio * count) gives the budget whatever the rounding.
                gazing_ratio=min(1.0, (limits.budget + 0.5) / self.layout.count),
                task_loss_requirement=limits.loss_threshold,
                bgr=frame.order == "bgr",
            )
        except self._failures as error:
            raise SourceError(f"the model {self.model} failed on a frame: {error}") from error
        kept = ~gaze.padded
        return Gaze(
            gaze.ids[kept].astype(np.int32),
            gaze.confidence[kept].astype(np.float32),
            gaze.predicted_loss[kept].astype(np.float32),
        )
