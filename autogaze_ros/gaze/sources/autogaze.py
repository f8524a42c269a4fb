"""The AutoGaze source: the model, streaming."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from ..frame import Frame
from ..receiver import TokenReceiver
from ..tokens import TokenLayout
from .base import Gaze, Limits, Look, SourceError


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
        SourceError: no torch that works here, no such device, or a folder that can't be loaded; the message says
            which of these and the remedy.
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
        if str(folder) in ("", "."):
            raise SourceError(
                "the source autogaze needs the parameter model: a folder with model.safetensors, or builtin"
            )
        # Whatever goes wrong here, a robot is to go on with greedy: PyTorch and its libraries fail in many ways.
        try:
            import torch

            from ...model import AutoGaze, ModelError
        except Exception as error:
            raise SourceError(_import_failure(error)) from error
        self._failures: tuple[type[Exception], ...] = (ModelError, torch.cuda.OutOfMemoryError)
        try:
            if device == "auto":
                device = "cuda" if torch.cuda.is_available() else "cpu"
            say(f"loading the model {folder} on {device}")
            self._model = AutoGaze.from_folder(folder, device, getattr(torch, dtype), progress=say)
            config = self._model.config
            self._model.warm_up(progress=say)
            self._stream = self._model.stream(window=window, policy=history)
        except self._failures as error:
            raise SourceError(f"the model {folder} can't be used: {error}") from error
        except Exception as error:
            remedy = "" if device == "cpu" else "; device:=cpu does without the GPU"
            raise SourceError(
                f"the model {folder} can't be used on {device}: {_first_line(error)}{remedy}"
            ) from error
        self.model = folder.name
        self.device = device
        self.layout = TokenLayout(config.grids, config.patch_size)

    def another(self) -> AutoGazeSource:
        """A stream of its own on the same model."""
        other = copy.copy(self)
        other._stream = self._model.stream(window=self._stream.window, policy=self._stream.policy)
        return other

    def step(self, frame: Frame, receiver: TokenReceiver, limits: Limits, keyframe: bool) -> Gaze:
        """Choose by the model; the receiver is not asked."""
        return self.step_batch([Look(self, frame, receiver, limits, keyframe)])[0]

    def step_batch(self, looks: Sequence[Look]) -> list[Gaze]:
        """One pass of the network over the next frames of several streams of this model.

        Raises:
            SourceError: the model failed; all the streams start afresh with their next frames.
        """
        streams = [look.source._stream for look in looks]  # type: ignore[attr-defined]
        first = looks[0]
        for look, stream in zip(looks, streams, strict=True):
            if look.keyframe:
                stream.reset()
            # Half a token more, so that the model's floor(ratio * count) gives the budget whatever the rounding.
            stream.gazing_ratio = min(1.0, (look.limits.budget + 0.5) / self.layout.count)
            stream.task_loss_requirement = look.limits.loss_threshold
        try:
            frames = [look.frame.pixels for look in looks]
            gazes = self._model.step(streams, frames, bgr=first.frame.order == "bgr")
        except self._failures as error:
            raise SourceError(f"the model {self.model} failed on a frame: {error}") from error
        return [
            Gaze(
                gaze.ids[kept := ~gaze.padded].astype(np.int32),
                gaze.confidence[kept].astype(np.float32),
                gaze.predicted_loss[kept].astype(np.float32),
            )
            for gaze in gazes
        ]


def _import_failure(error: Exception) -> str:
    """What is missing for the network, and how to get it."""
    if isinstance(error, ModuleNotFoundError) and error.name:
        package = error.name.partition(".")[0]
        wanted = "'torch>=2.4'" if package == "torch" else package
        return f"the source autogaze needs the package {package}: pip install {wanted}"
    return (
        f"PyTorch can't be loaded for the source autogaze: {_first_line(error)}; "
        "install a build of it that is made for this machine and its CUDA libraries"
    )


def _first_line(error: Exception) -> str:
    """An error in one line: CUDA adds paragraphs on debugging."""
    text = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
