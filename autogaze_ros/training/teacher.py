"""The greedy choice of `autogaze_ros.gaze.sources.greedy` for a batch of streams, exactly.

Errors are whole numbers below 2**53, so float64 sums are exact in any order. What lies on top of what is worked out
anew for each pick instead of being kept up to date: for a batch that is a handful of operations on all of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from ..gaze.tokens import DEFAULT_LAYOUT, TokenLayout


@dataclass
class Choices:
    """Tokens chosen from one frame of each of a batch of streams.

    Attributes:
        base: (batch, side, side) float64, error of what the receivers show without any of the tokens.
        scales: (batch, scales, side, side) float64, error if shown at each scale.
        chosen: (batch, count) bool.
    """

    base: torch.Tensor
    scales: torch.Tensor
    chosen: torch.Tensor

    @staticmethod
    def none(base: torch.Tensor, scales: torch.Tensor, count: int = DEFAULT_LAYOUT.count) -> Choices:
        """Nothing chosen yet."""
        return Choices(base, scales, torch.zeros(len(base), count, dtype=torch.bool, device=base.device))

    def add(self, ids: torch.Tensor) -> None:
        """Add one token to each stream; ids (batch,) int64."""
        self.chosen = self.chosen.scatter(1, ids[:, None], True)


class Teacher:
    """Gains and costs of tokens on one device."""

    def __init__(self, device: torch.device, layout: TokenLayout = DEFAULT_LAYOUT) -> None:
        self.layout = layout
        self.side = math.lcm(*layout.grids)
        maps = []
        for offset, grid in zip(layout.offsets, layout.grids, strict=True):
            ids = offset + torch.arange(grid * grid).view(grid, grid)
            block = self.side // grid
            maps.append(ids.repeat_interleave(block, 0).repeat_interleave(block, 1))
        self._token_maps = torch.stack(maps).to(device)  # (scales, side, side)

    def level(self, chosen: torch.Tensor) -> torch.Tensor:
        """(batch, side, side) int64: the finest chosen scale over each map cell, -1 for none."""
        present = chosen[:, self._token_maps]
        number = torch.arange(len(self.layout.grids), device=chosen.device).view(1, -1, 1, 1)
        return torch.where(present, number, -1).amax(1)

    def gains(self, choices: Choices) -> tuple[torch.Tensor, torch.Tensor]:
        """(batch, count) float64, the fall of the total error if each token were added, and the total (batch,)."""
        present = choices.chosen[:, self._token_maps]
        top, level = self._top(choices, present)
        parts = []
        for scale in range(len(self.layout.grids)):
            fall = torch.where(level < scale, top - choices.scales[:, scale], 0)
            parts.append(self._pooled(fall, scale))
        return torch.cat(parts, 1), top.sum((1, 2))

    def costs(self, choices: Choices) -> torch.Tensor:
        """(batch, count) float64: the rise if each token were taken away; inf for one that is not there."""
        present = choices.chosen[:, self._token_maps]
        top = under = choices.base
        level = torch.full_like(top, -1)
        for scale in range(len(self.layout.grids)):
            here = present[:, scale]
            under = torch.where(here, top, under)
            top = torch.where(here, choices.scales[:, scale], top)
            level = torch.where(here, float(scale), level)
        parts = [
            self._pooled(torch.where(level == scale, under - top, 0), scale)
            for scale in range(len(self.layout.grids))
        ]
        return torch.where(choices.chosen, torch.cat(parts, 1), math.inf)

    def choose(self, base: torch.Tensor, scales: torch.Tensor, budget: int, enough: float) -> list[list[int]]:
        """What `choose` of the greedy source returns, for each stream: ids in the order of choice."""
        choices = Choices.none(base, scales, self.layout.count)
        batch = len(base)
        rows = torch.arange(batch, device=base.device)
        when = torch.zeros(batch, self.layout.count, dtype=torch.int64, device=base.device)
        size = torch.zeros(batch, dtype=torch.int64, device=base.device)
        going = torch.ones(batch, dtype=torch.bool, device=base.device)
        turn = 0
        while True:
            turn += 1
            gains, total = self.gains(choices)
            best = first_argmax(gains)
            going &= (total > enough) & (gains[rows, best] > 0)
            if not bool(going.any()):
                break
            choices.chosen[rows[going], best[going]] = True
            when[rows[going], best[going]] = turn
            costs = self.costs(choices)
            least = first_argmax(-costs)
            swap = going & (costs[rows, best] > costs[rows, least])
            grow = going & ~swap & (size < budget)
            full = going & ~swap & ~grow
            choices.chosen[rows[swap], least[swap]] = False
            choices.chosen[rows[full], best[full]] = False
            size += grow
            going &= ~full
        while True:
            costs = self.costs(choices)
            least = first_argmax(-costs)
            hidden = choices.chosen.any(1) & (costs[rows, least] <= 0)
            if not bool(hidden.any()):
                break
            choices.chosen[rows[hidden], least[hidden]] = False
        order = torch.where(choices.chosen, when, turn + 1).argsort(dim=1, stable=True)
        return [
            ids[:count].tolist() for ids, count in zip(order, choices.chosen.sum(1).tolist(), strict=True)
        ]

    def _top(self, choices: Choices, present: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        top, level = choices.base, torch.full_like(choices.base, -1)
        for scale in range(len(self.layout.grids)):
            top = torch.where(present[:, scale], choices.scales[:, scale], top)
            level = torch.where(present[:, scale], float(scale), level)
        return top, level

    def _pooled(self, values: torch.Tensor, scale: int) -> torch.Tensor:
        """(batch, side, side) summed over the cells of a scale: (batch, grid * grid)."""
        grid = self.layout.grids[scale]
        block = self.side // grid
        return values.view(-1, grid, block, grid, block).sum((2, 4)).view(len(values), -1)


def first_argmax(values: torch.Tensor) -> torch.Tensor:
    """(batch, n) -> (batch,) int64: the first of the largest; `argmax` on a GPU may give any of them."""
    number = torch.arange(values.shape[1], device=values.device)
    return torch.where(values == values.amax(1, keepdim=True), number, values.shape[1]).amin(1)
