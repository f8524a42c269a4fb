"""The one family of errors that the model room raises.

Every message names the thing that is wrong (a key, a tensor, an argument) and what to do about it, so that
a node can put it into its log and diagnostics as it is. All are `ValueError`s: catching `ModelError` catches
everything this room raises on purpose.
"""

from autogaze_ros.errors import AutogazeError


class ModelError(AutogazeError, ValueError):
    """Base of all errors raised by `autogaze_ros.model`."""


class ConfigError(ModelError):
    """A key of `config.json` or `preprocessor_config.json` is missing, contradictory or unsupported."""


class CheckpointError(ModelError):
    """`model.safetensors` is absent, cut off, or holds other tensors than the configuration asks for."""


class FrameError(ModelError):
    """A frame is not an RGB uint8 picture, or not of the size this stream began with."""


class SettingError(ModelError):
    """An argument such as the gazing ratio, the loss threshold or the window is out of range."""


class DeviceError(ModelError):
    """The device is absent or out of memory, or cannot run what was asked of it."""
