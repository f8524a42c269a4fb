"""Gaze sources: where to look, chosen frame by frame, behind one interface."""

from .base import Gaze, GazeSource, Limits, Look, SourceError, run_all, step_together
from .greedy import GreedySource
from .patch_diff import PatchDiffSource

__all__ = [
    "Gaze",
    "GazeSource",
    "GreedySource",
    "Limits",
    "Look",
    "PatchDiffSource",
    "SourceError",
    "run_all",
    "step_together",
]
