"""Pictures of a gaze. No ROS."""

from .overlay import SCALE_COLOURS, draw_caption, draw_overlay
from .reconstruction import Reconstruction
from .views import VIEWS, View, draw_view

__all__ = ["SCALE_COLOURS", "VIEWS", "Reconstruction", "View", "draw_caption", "draw_overlay", "draw_view"]
