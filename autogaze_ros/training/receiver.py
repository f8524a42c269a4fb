"""The receiver of `autogaze_ros.gaze.receiver` for a batch of streams, on any device, with the same bytes.

What a token carries and how a receiver spreads it over its box are products with matrices of whole numbers and
one rounding each. In float32 every sum stays below 2**24, so a GPU's products in any order are exact too, as long
as they are not rounded to TF32 on the way (PyTorch's default).
"""

from __future__ import annotations

import math

import torch

from ..gaze.receiver import BLANK, _averaging, _interpolation
from ..gaze.tokens import DEFAULT_LAYOUT, TokenLayout


class BatchReceiver:
    """Pictures made of tokens alone, of a batch of streams that step together.

    Args:
        batch: streams.
        device: where the pictures are.
        layout: the grids of the streams.
    """

    def __init__(self, batch: int, device: torch.device, layout: TokenLayout = DEFAULT_LAYOUT) -> None:
        self.layout = layout
        self.side = math.lcm(*layout.grids)
        #: (batch, 3, size, size) float32, whole numbers: what the receivers show.
        self.picture = torch.full((batch, 3, layout.size, layout.size), BLANK, device=device)
        self._filters = []
        for grid in layout.grids[:-1]:
            box = layout.size // grid
            down, up = _averaging(layout.patch, box), _interpolation(layout.patch, box)
            self._filters.append((grid, torch.from_numpy(down).to(device), torch.from_numpy(up).to(device)))
        self._shown: list[torch.Tensor] = []

    def observe(self, frames: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Take the next frame of every stream.

        Args:
            frames: (batch, 3, size, size) float32, whole numbers 0..255.

        Returns:
            Squared errors over RGB, float64: (batch, side, side) of what is shown now, and
            (batch, scales, side, side) of each scale.
        """
        self._shown = [_filtered(frames, *each) for each in self._filters] + [frames]
        errors = [self._measure(shown, frames) for shown in self._shown[:-1]]
        errors.append(torch.zeros_like(errors[0]))
        return self._measure(self.picture, frames), torch.stack(errors, 1)

    def show(self, level: torch.Tensor) -> None:
        """Write the observed frames' tokens into the pictures.

        Args:
            level: (batch, side, side) int64, the finest scale chosen over each map cell, -1 for none.
        """
        block = self.layout.size // self.side
        wide = level.repeat_interleave(block, 1).repeat_interleave(block, 2)[:, None]
        for scale, shown in enumerate(self._shown):
            self.picture = torch.where(wide == scale, shown, self.picture)

    def _measure(self, shown: torch.Tensor, frames: torch.Tensor) -> torch.Tensor:
        block = self.layout.size // self.side
        squares = (shown - frames).square_()
        # Three colours of a map cell's 64 pixels add up to less than 2**24: exact in float32.
        return squares.view(-1, 3, self.side, block, self.side, block).sum((1, 3, 5)).double()


def _filtered(frames: torch.Tensor, grid: int, down: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
    """(batch, 3, size, size) as the tokens of one scale show it."""
    return _apply(up, _apply(down, frames, grid), grid)


def _apply(matrix: torch.Tensor, planes: torch.Tensor, grid: int) -> torch.Tensor:
    """Each cell's (of, of) pixels to (to, to) by a (to, of) matrix along both sides, rounded half up."""
    to, of = matrix.shape
    lead = planes.shape[:-2]
    total = float(matrix[0].sum()) ** 2
    across = planes.reshape(-1, of) @ matrix.t()
    across = across.view(-1, of, grid * to)  # (batch * 3 * grid, of, grid * to)
    cells = matrix @ across
    # The quarter keeps exact halves on the right side of float32's rounding, as in the CPU's receiver.
    cells = cells.mul_(1 / torch.tensor(total).item()).add_(0.5 + 0.25 / total).floor_().clamp_(0, 255)
    return cells.view(*lead, grid * to, grid * to)
