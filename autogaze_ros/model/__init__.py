"""AutoGaze itself: the network, its streams and its files. Imports torch, NumPy and safetensors, nothing of ROS."""

from autogaze_ros.model.autogaze import AutoGaze
from autogaze_ros.model.clip import Clip
from autogaze_ros.model.errors import (
    CheckpointError,
    ConfigError,
    DeviceError,
    FrameError,
    ModelError,
    SettingError,
)
from autogaze_ros.model.generation import Gaze
from autogaze_ros.model.info import info
from autogaze_ros.model.stream import KEEP, Stream

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
