"""AutoGaze itself: the network, its streams and its files. Imports torch, NumPy and safetensors, nothing of ROS."""

from .autogaze import AutoGaze
from .clip import Clip
from .errors import (
    CheckpointError,
    ConfigError,
    DeviceError,
    FrameError,
    ModelError,
    SettingError,
)
from .generation import Gaze
from .info import info
from .stream import KEEP, Stream

__all__ = [
    "KEEP",
    "AutoGaze",
    "CheckpointError",
    "Clip",
    "ConfigError",
    "DeviceError",
    "FrameError",
    "Gaze",
    "ModelError",
    "SettingError",
    "Stream",
    "info",
]
