"""Pictures of a gaze. No ROS."""

from ..settings import VIEWS
from .overlay import SCALE_COLOURS, draw_caption, draw_overlay
from .reconstruction import Reconstruction
from .renderer import Renderer, Wanted
from .views import draw_view

__all__ = [
    "SCALE_COLOURS",
    "VIEWS",
    "Reconstruction",
    "Renderer",
    "Wanted",
    "draw_caption",
    "draw_overlay",
    "draw_view",
]
