"""The domain: tokens and boxes, gazes, masks, measures, and the sources that choose. No ROS."""

from .frame import Frame
from .gaze_frame import GazeFrame
from .masks import MASK_STYLES, Coverage, MaskStyle, cover, deduplicate
from .metrics import loss_from_psnr, psnr, psnr_from_loss
from .receiver import TokenReceiver
from .tokens import DEFAULT_LAYOUT, TokenLayout

__all__ = [
    "DEFAULT_LAYOUT",
    "MASK_STYLES",
    "Coverage",
    "Frame",
    "GazeFrame",
    "MaskStyle",
    "TokenLayout",
    "TokenReceiver",
    "cover",
    "deduplicate",
    "loss_from_psnr",
    "psnr",
    "psnr_from_loss",
]
