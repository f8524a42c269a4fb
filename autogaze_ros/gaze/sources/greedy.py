"""The greedy source: in a closed loop, always the token that helps the receiver most."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ..frame import Frame
from ..receiver import TokenReceiver
from ..tokens import DEFAULT_LAYOUT, TokenLayout
from .base import Gaze, Limits


class GreedySource:
    """Takes the token with the largest fall of the receiver's total squared error, until enough is done.

    It stops when the target PSNR is met or no token helps. A token replaces the least missed of those taken
    before where it helps more than that one, and otherwise adds to them while the budget lasts, so that more
    budget never shows a worse picture. What a finer token has shown in this frame a coarser one does not
    cover again. Confidence is the share of its cell's error that a
    token took away when it was chosen, 0..1.
    """

    name = "greedy"
    model = ""
    device = "cpu"

    def __init__(self, layout: TokenLayout = DEFAULT_LAYOUT) -> None:
        self.layout = layout

    def step(self, frame: Frame, receiver: TokenReceiver, limits: Limits, keyframe: bool) -> Gaze:
        """Choose by the receiver's error maps alone; a keyframe needs nothing more, for the receiver is blank then."""
        enough = receiver.error_at(limits.target_psnr)
        ids, shares = choose(self.layout, receiver.errors, receiver.scale_errors, limits.budget, enough)
        return Gaze.unpredicted(ids, shares)


def choose(
    layout: TokenLayout,
    errors: NDArray[np.float64],
    scale_errors: NDArray[np.float64],
    budget: int,
    enough: float,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The greedy choice on error maps.

    Args:
        layout: the grids.
        errors: (side, side) squared error of what the receiver shows now; not changed.
        scale_errors: (scales, side, side) squared error if shown at each scale.
        budget: most tokens to take.
        enough: stop once the total error is at most this.

    Returns:
        (N,) ids in the order of choice and (N,) the share of its cell's error that each took away. Of two
        tokens that help equally the one with the lower id comes first.
    """
    stack = _Stack(layout, errors, scale_errors)
    shares: dict[int, float] = {}  # of the tokens chosen, in the order of choice
    size = 0
    # Swapping at every size, not only once the budget is full, makes a smaller budget's choice a stage on
    # the way to a larger one's: more budget never shows a worse picture.
    while stack.errors.sum() > enough:
        gains = stack.gains()
        best = int(gains.argmax())
        if gains[best] <= 0:
            break
        shares[best] = float(gains[best]) / float(stack.errors[stack.cell(best)].sum())
        stack.set(best, True)
        if len(shares) > size:
            costs = stack.costs()
            least = min(reversed(shares), key=lambda token: costs[token])
            if least == best and size < budget:
                size += 1
                continue
            stack.set(least, False)
            del shares[least]
            if least == best:
                break
    # What finer tokens hid later is not sent. One at a time: a token may have hidden what is under it.
    while shares:
        costs = stack.costs()
        least = min(reversed(shares), key=lambda token: costs[token])
        if costs[least] > 0:
            break
        stack.set(least, False)
        del shares[least]
    return np.array(list(shares), np.int64), np.array(list(shares.values()))


class _Stack:
    """Tokens lying over each other on the error map, the finest on top, and what adding or removing one changes."""

    def __init__(
        self, layout: TokenLayout, errors: NDArray[np.float64], scale_errors: NDArray[np.float64]
    ) -> None:
        side = errors.shape[0]
        self.layout, self.side = layout, side
        self.pools = _pools(layout, side)
        self.token_maps = _token_maps(layout, side)
        self.base, self.scale_errors = errors, scale_errors
        self.scales = np.arange(len(layout.grids))[:, None, None]
        self.chosen = np.zeros(scale_errors.shape, bool)
        #: error of what is on top in each map cell
        self.errors = errors.copy()
        self._gain_maps = errors - scale_errors
        self._cost_map = np.zeros_like(errors)
        self._owner = np.full(errors.shape, layout.count)  # the token on top; count where there is none
        self._bare = np.ones(errors.shape, bool)  # no token at all

    def cell(self, token: int) -> tuple[slice, slice]:
        """Rows and columns of the map that a token covers."""
        _, grid, row, col = self.layout.table[token].tolist()
        block = self.side // grid
        return slice(row * block, (row + 1) * block), slice(col * block, (col + 1) * block)

    def gains(self) -> NDArray[np.float64]:
        """(count,) fall of the total error if each token were added; a token already there gains 0."""
        pooled: list[NDArray[np.float64]] = [
            (p @ m @ p.T).ravel() for p, m in zip(self.pools, self._gain_maps, strict=True)
        ]
        return np.concatenate(pooled)

    def costs(self) -> NDArray[np.float64]:
        """(count + 1,) rise of the total error if each token were taken away."""
        counts = np.bincount(self._owner.ravel(), self._cost_map.ravel(), self.layout.count + 1)
        return counts.astype(np.float64)

    def set(self, token: int, present: bool) -> None:
        """Add a token or take it away."""
        scale, cell = int(self.layout.table[token, 0]), self.cell(token)
        self.chosen[(scale, *cell)] = present
        if present and self._bare[cell].all():
            self._set_first(token, scale, cell)
            return
        top = under = self.base[cell]
        level = np.full(top.shape, -1)
        owner = np.full(top.shape, self.layout.count)
        errors = self.scale_errors[(slice(None), *cell)]
        for index in range(len(self.layout.grids)):
            here = self.chosen[(index, *cell)]
            if here.any():
                under = np.where(here, top, under)
                top = np.where(here, errors[index], top)
                level[here] = index
                owner[here] = self.token_maps[(index, *cell)][here]
        self.errors[cell] = top
        self._cost_map[cell] = under - top
        self._owner[cell] = owner
        self._bare[cell] = owner == self.layout.count
        self._gain_maps[(slice(None), *cell)] = np.where(level < self.scales, top - errors, 0)

    def _set_first(self, token: int, scale: int, cell: tuple[slice, slice]) -> None:
        """Add a token where there is none yet, by far the most frequent case."""
        errors = self.scale_errors[(slice(scale, None), *cell)]
        self.errors[cell] = errors[0]
        self._cost_map[cell] = self.base[cell] - errors[0]
        self._owner[cell] = token
        self._bare[cell] = False
        self._gain_maps[(slice(0, scale), *cell)] = 0
        self._gain_maps[(slice(scale, None), *cell)] = errors[0] - errors


@lru_cache(maxsize=8)
def _pools(layout: TokenLayout, side: int) -> list[NDArray[np.float64]]:
    """One (grid, side) matrix a scale that sums the map's rows into the grid's."""
    return [np.kron(np.eye(grid), np.ones((1, side // grid))).astype(np.float64) for grid in layout.grids]


@lru_cache(maxsize=8)
def _token_maps(layout: TokenLayout, side: int) -> NDArray[np.int64]:
    """(scales, side, side): the token of each scale that covers each map cell."""
    maps = []
    for offset, grid in zip(layout.offsets, layout.grids, strict=True):
        ids = offset + np.arange(grid * grid).reshape(grid, grid)
        maps.append(np.kron(ids, np.ones((side // grid, side // grid), np.int64)))
    return np.stack(maps)
