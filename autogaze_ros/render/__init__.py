"""Pictures of a gaze. No ROS."""

from .overlay import SCALE_COLOURS, draw_caption, draw_overlay
from .reconstruction import Reconstruction, token_picture

__all__ = ["SCALE_COLOURS", "Reconstruction", "draw_caption", "draw_overlay", "token_picture"]
