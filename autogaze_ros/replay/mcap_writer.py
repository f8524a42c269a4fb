"""Writes ROS 2 messages to one .mcap file that ros2 bag, Foxglove and PlotJuggler open."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any

from mcap.writer import CompressionType, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from .. import __version__
from ..resources import share_folder


@cache
def type_store() -> Any:
    """The message types of ROS 2 and of this package, for rosbags."""
    store = get_typestore(Stores.ROS2_JAZZY)
    types: dict[str, Any] = {}
    for path in sorted((share_folder() / "msg").glob("*.msg")):
        types.update(get_types_from_msg(path.read_text(), f"autogaze_ros/msg/{path.stem}"))
    store.register(types)
    return store


class McapWriter:
    """One .mcap file with the message definitions embedded. Use as a context manager.

    Args:
        path: of the file; its folder is made.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("wb")
        self._writer = Writer(self._file, compression=CompressionType.ZSTD)
        self._writer.start(profile="ros2", library=f"autogaze_ros {__version__}")
        self._channels: dict[tuple[str, str], int] = {}
        self._sequences: dict[int, int] = {}

    def write(self, topic: str, kind: str, data: bytes | memoryview, stamp: int) -> None:
        """Append a message.

        Args:
            topic: full name.
            kind: message type, such as "std_msgs/msg/Header".
            data: serialized as CDR.
            stamp: nanoseconds.
        """
        channel = self._channels.get((topic, kind))
        if channel is None:
            definition = type_store().generate_msgdef(kind, ros_version=2)[0]
            schema = self._writer.register_schema(kind, "ros2msg", definition.encode())
            channel = self._writer.register_channel(topic, "cdr", schema, {"offered_qos_profiles": ""})
            self._channels[topic, kind] = channel
        sequence = self._sequences.get(channel, 0)
        self._sequences[channel] = sequence + 1
        self._writer.add_message(channel, stamp, data, stamp, sequence)  # type: ignore[arg-type]

    def close(self) -> None:
        """Finish the file."""
        if not self._file.closed:
            self._writer.finish()
            self._file.close()

    def __enter__(self) -> McapWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
