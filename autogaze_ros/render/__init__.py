"""Pictures of a gaze. No ROS."""

from ..settings import VIEWS
from .overlay import SCALE_COLOURS, draw_caption, draw_overlay
from .reconstruction import Reconstruction
from .views import draw_view

__all__ = [
    "SCALE_COLOURS",
    "VIEWS",
    "Reconstruction",
    "draw_caption",
    "draw_overlay",
    "draw_view",
]
