"""The frames that surprise: where the PSNR falls, or the tokens rise, against what is usual around them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: Frames on either side that tell what is usual, and that two surprises keep apart at least.
NEIGHBOURS = 15
#: dB above which nobody sees a difference any more; identical pictures, infinite, count as this.
CEILING = 60.0
#: How many times the usual wobble makes a surprise.
THRESHOLD = 4.0
#: Keyframes that come by plan, so that their many tokens surprise nobody.
PLANNED = ("start", "interval", "request")


@dataclass(frozen=True)
class Surprise:
    """A frame unlike its neighbours.

    Args:
        row: of the frame in its topic's table.
        score: multiples of the usual wobble.
        usual_psnr: dB, the median around it, at most :data:`CEILING`; NaN where no neighbour has one.
        usual_tokens: the median around it.
        by_tokens: the rise of tokens is the larger surprise, not the fall of the PSNR.
    """

    row: int
    score: float
    usual_psnr: float
    usual_tokens: float
    by_tokens: bool


def find_surprises(
    psnr: Floats, tokens: NDArray[np.int64], causes: NDArray[np.object_], most: int = 6
) -> list[Surprise]:
    """The largest surprises, largest first, spaced apart.

    A fall is measured in the median deviation of the whole topic, of at least 0.5 dB and 1 token. Planned
    keyframes neither surprise nor count as neighbours.

    Args:
        psnr: (N,) dB, inf where identical.
        tokens: (N,) a frame.
        causes: (N,) of keyframes, empty elsewhere.
        most: how many to return.
    """
    planned = np.isin(causes.astype(str), PLANNED)
    quality = np.where(planned, np.nan, np.minimum(psnr, CEILING))
    spent = np.where(planned, np.nan, tokens.astype(float))
    usual_psnr, usual_tokens = _running_median(quality), _running_median(spent)
    falls, rises = usual_psnr - quality, spent - usual_tokens
    by_psnr = _scored(falls, 0.5)
    by_tokens = _scored(rises, 1.0)
    score = np.maximum(by_psnr, by_tokens)
    found: list[Surprise] = []
    free = score >= THRESHOLD
    for row in np.argsort(-score, kind="stable").tolist():
        if len(found) == most or score[row] < THRESHOLD:
            break
        if free[row]:
            free[max(0, row - NEIGHBOURS) : row + NEIGHBOURS + 1] = False
            usual = float(usual_psnr[row]), float(usual_tokens[row])
            found.append(Surprise(row, float(score[row]), *usual, bool(by_tokens[row] > by_psnr[row])))
    return found


def _scored(excess: Floats, least: float) -> Floats:
    """The excess in multiples of its median size, which is taken to be ``least`` or more; 0 where unknown."""
    known = excess[np.isfinite(excess)]
    wobble = max(float(np.median(np.abs(known))), least) if len(known) else least
    return np.nan_to_num(excess, nan=0.0) / wobble


def _running_median(values: Floats) -> Floats:
    """(N,) median over each value's neighbours and itself; NaN where none is known."""
    if not len(values):
        return values
    padded = np.pad(values, NEIGHBOURS, constant_values=np.nan)
    result = np.empty(len(values))
    windows = sliding_window_view(padded, 2 * NEIGHBOURS + 1)
    for first in range(0, len(values), 4096):  # a slice at a time: the median copies its windows
        part = np.sort(windows[first : first + 4096], axis=1)  # NaN come last
        known = np.isfinite(part).sum(axis=1)
        rows = np.arange(len(part))
        middle = part[rows, np.maximum(known - 1, 0) // 2] + part[rows, np.minimum(known // 2, 30)]
        result[first : first + 4096] = np.where(known > 0, middle / 2, np.nan)
    return result
