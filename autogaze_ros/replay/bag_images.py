"""Images of a rosbag, read without ROS."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rosbags.highlevel import AnyReader

from .clips import ClipError
from .mcap_writer import type_store

IMAGE_TYPES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")


def bag_images(path: Path, topic: str = "") -> Iterator[tuple[int, str, Any]]:
    """The image messages of one topic of a bag, in order.

    Args:
        path: a bag's folder.
        topic: which; the first image topic by name where empty.

    Yields:
        Nanoseconds of recording, the message type, and the message as rosbags reads it.

    Raises:
        ClipError: not a bag, a damaged one, or no such image topic.
    """
    try:
        with AnyReader([path], default_typestore=type_store()) as reader:
            found = sorted((c for c in reader.connections if c.msgtype in IMAGE_TYPES), key=lambda c: c.topic)
            wanted = [c for c in found if c.topic == topic] if topic else found[:1]
            if not wanted:
                names = ", ".join(c.topic for c in found) or "none"
                raise ClipError(f"{path} has no image topic {topic or 'at all'}; its image topics: {names}")
            for connection, stamp, data in reader.messages(wanted):
                yield stamp, connection.msgtype, reader.deserialize(data, connection.msgtype)
    except ClipError:
        raise
    except (
        Exception
    ) as error:  # from a damaged bag come its storage's own errors: of SQLite, Zstandard, UTF-8
        raise ClipError(f"{path} can't be read as a bag: {error}") from error
