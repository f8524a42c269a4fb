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

    def another(self) -> GreedySource:
        """Itself: it remembers nothing."""
        return self

    def step(self, frame: Frame, receiver: TokenReceiver, limits: Limits, keyframe: bool) -> Gaze:
        """Choose by the receiver's error maps alone; a keyframe needs nothing more, for the receiver is blank then."""
        enough = receiver.error_at(limits.target_psnr)
        if receiver.errors.sum() <= enough:  # a still scene: the errors of the scales need not be known
            return Gaze.unpredicted(np.empty(0, np.int64), np.empty(0))
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
    # the way to a larger one's: more budget never shows a worse picture. A token of which finer ones left
    # nothing to be seen is swapped once more, so that asking for more never gives fewer either.
    while stack.total > enough or stack.costs.min() <= 0:
        best = int(stack.gains.argmax())
        gain = float(stack.gains[best])
        if gain <= 0:
            break
        shares[best] = gain / float(stack.errors[stack.cell(best)].sum())
        stack.set(best, True)
        if len(shares) <= size:
            continue
        least = int(stack.costs.argmin())
        # Of equals the newest goes, or a pair of them could replace each other for ever.
        if stack.costs[best] > stack.costs[least]:
            stack.set(least, False)
            del shares[least]
        elif size < budget:
            size += 1
        else:
            stack.set(best, False)
            del shares[best]
            break
    # Where no swap helps any more, what is hidden is not sent. One at a time: one may hide what is under it.
    while shares and stack.costs[least := int(stack.costs.argmin())] <= 0:
        stack.set(least, False)
        del shares[least]
    return np.array(list(shares), np.int64), np.array(list(shares.values()))


class _Stack:
    """Tokens lying over each other on the error map, the finest on top, and what adding or removing one changes.

    All numbers are whole and below 2^53, so float64 sums are exact however they are kept up to date.
    """

    def __init__(
        self, layout: TokenLayout, errors: NDArray[np.float64], scale_errors: NDArray[np.float64]
    ) -> None:
        side = errors.shape[0]
        self.layout, self.side = layout, side
        self.base, self.scale_errors = errors, scale_errors
        #: error of what is on top in each map cell, and its sum
        self.errors = errors.copy()
        self.total = float(errors.sum())
        #: (count,) fall of the total error if each token were added; 0 for one that is there
        self.gains: NDArray[np.float64] = np.empty(layout.count)
        #: (count,) rise of the total error if each token were taken away; inf for one that is not there
        self.costs: NDArray[np.float64] = np.full(layout.count, np.inf)
        self._token_maps = _token_maps(layout, side)
        self._scales = np.arange(len(layout.grids))[:, None, None]
        self._gain_maps = (
            errors - scale_errors
        )  # fall of each map cell's error if each scale were added there
        self._cost_map = np.zeros_like(errors)
        self._owner = np.full(errors.shape, -1)  # the token on top
        self._chosen = np.zeros(scale_errors.shape, bool)
        for pool, gain_map, offset in zip(_pools(layout, side), self._gain_maps, layout.offsets, strict=True):
            self.gains[offset : offset + len(pool) ** 2] = (pool @ gain_map @ pool.T).ravel()

    def cell(self, token: int) -> tuple[slice, slice]:
        """Rows and columns of the map that a token covers."""
        _, grid, row, col = self.layout.table[token].tolist()
        block = self.side // grid
        return slice(row * block, (row + 1) * block), slice(col * block, (col + 1) * block)

    def set(self, token: int, present: bool) -> None:
        """Add a token or take it away."""
        scale, cell = int(self.layout.table[token, 0]), self.cell(token)
        layers = (slice(None), *cell)
        self._chosen[(scale, *cell)] = present
        errors = self.scale_errors[layers]
        gains = self._gain_maps[layers]
        before = gains.copy()
        if present and self._owner[cell].max() < 0:  # alone in its place, by far the most frequent case
            top = errors[scale]
            np.subtract(top, errors, out=gains)
            gains[:scale] = 0
            self.costs[token] = self.gains[token]
            self._cost_map[cell] = self.base[cell] - top
            self._owner[cell] = token
        else:
            top = self._restack(cell, errors, gains)
            if not present:
                self.costs[token] = np.inf
        self.total += float(top.sum() - self.errors[cell].sum())
        self.errors[cell] = top
        np.add.at(self.gains, self._token_maps[layers].ravel(), (gains - before).ravel())

    def _restack(
        self, cell: tuple[slice, slice], errors: NDArray[np.float64], gains: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Find out anew what is on top in a cell and under it; returns the errors on top."""
        top = under = self.base[cell]
        level = np.full(top.shape, -1)
        owner = np.full(top.shape, -1)
        for index, here in enumerate(self._chosen[(slice(None), *cell)]):
            if here.any():
                under = np.where(here, top, under)
                top = np.where(here, errors[index], top)
                level[here] = index
                owner[here] = self._token_maps[(index, *cell)][here]
        old, costs = self._owner[cell], self._cost_map[cell]
        touched = np.union1d(old, owner)
        touched = touched[touched >= 0]
        # A token that comes on top, or back to it, begins its sum at 0.
        self.costs[touched[np.isinf(self.costs[touched])]] = 0
        np.subtract.at(self.costs, old[old >= 0], costs[old >= 0])
        self._cost_map[cell] = under - top
        self._owner[cell] = owner
        np.add.at(self.costs, owner[owner >= 0], (under - top)[owner >= 0])
        gains[:] = np.where(level < self._scales, top - errors, 0)
        return top


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
