"""Pictures of a gaze. No ROS."""

from .overlay import SCALE_COLOURS, draw_overlay
from .reconstruction import Reconstruction

__all__ = ["SCALE_COLOURS", "Reconstruction", "draw_overlay"]
