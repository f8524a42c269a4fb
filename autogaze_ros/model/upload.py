"""Frames on their way to the GPU, and their resize there."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from .nvrtc import integer
from .preprocessing import PRECISION_BITS, as_tensor, coefficients

if TYPE_CHECKING:
    from .graphs import GraphGenerator


class Upload:
    """Frames of one size on their way to the GPU, and their resize there into a part of a batch's pixels."""

    def __init__(
        self, engine: GraphGenerator, pixels: torch.Tensor, height: int, width: int, bgr: bool
    ) -> None:
        self.engine, self.pixels, self.bgr = engine, pixels, bgr
        self.height, self.width, self.side = height, width, engine.config.input_img_size
        n, device = len(pixels), engine.device
        self.staging = torch.empty(n, height, width, 3, dtype=torch.uint8, pin_memory=True)
        self.frames = torch.zeros(n, height, width, 3, dtype=torch.uint8, device=device)
        self.columns = torch.empty(n * height, self.side, 3, dtype=torch.uint8, device=device)
        self.across, self.down = self._filter(width), self._filter(height)
        self.resize = engine.kernels.capture(self._run)
        self.from_host = engine.kernels.capture(self._run_from_host)

    def _filter(self, size: int) -> tuple[torch.Tensor, torch.Tensor, int]:
        if size == self.side:  # Pillow leaves such an axis alone
            first, weights = np.arange(size), np.full((size, 1), 1 << PRECISION_BITS)
        else:
            first, weights = coefficients(size, self.side)
        device = self.engine.device
        return (torch.from_numpy(first.astype(np.int32)).to(device),
                torch.from_numpy(weights.astype(np.int32)).contiguous().to(device), weights.shape[1])  # fmt: skip

    def _run(self) -> None:
        p, side, launch = self.engine.preprocessor, self.side, self.engine.kernels.launch
        lines = len(self.pixels) * self.height
        launch("resize_columns", (math.ceil(lines * side * 3 / 256), 1, 1), 256, [self.frames, self.columns,
               self.across[0], self.across[1], integer(self.across[2]), integer(lines), integer(self.width),
               integer(side)])  # fmt: skip
        launch("resize_rows", (math.ceil(3 * side * side / 256), len(self.pixels), 1), 256, [self.columns,
               self.pixels, self.down[0], self.down[1], integer(self.down[2]), integer(self.height), integer(side),
               integer(side), *[ctypes.c_float(v) for v in (p.scale, p.offset, *p.mean, *p.std)],
               integer(self.bgr)])  # fmt: skip

    def _run_from_host(self) -> None:
        self.engine.kernels.copy(self.frames, self.staging)
        self._run()

    def __call__(self, frames: Sequence[np.ndarray | torch.Tensor]) -> None:
        """Put the upload of these frames and their resize on PyTorch's current stream."""
        tensors = [as_tensor(frame) for frame in frames]
        for i, tensor in enumerate(tensors):
            (self.frames if tensor.is_cuda else self.staging)[i].copy_(tensor, non_blocking=True)
        if not any(tensor.is_cuda for tensor in tensors):
            self.from_host.launch()
            return
        for i, tensor in enumerate(tensors):
            if not tensor.is_cuda:
                self.engine.kernels.copy(self.frames[i], self.staging[i])
        self.resize.launch()
