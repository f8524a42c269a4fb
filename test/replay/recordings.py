"""Small recordings with moving pictures in them, and what a replay makes of them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer

from autogaze_ros.replay.clips import DrawnClip
from autogaze_ros.replay.mcap_writer import type_store

IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
START = 1_700_000_000_000_000_000
STEP = 33_000_000
#: what is the same every time
SAME = ("gaze.mcap", "fixations.parquet", "fixations.csv", "frames.csv", "problems.csv")


def header(stamp: int, frame_id: str = "camera") -> Any:
    types = type_store().types
    return types["std_msgs/msg/Header"](types["builtin_interfaces/msg/Time"](*divmod(stamp, 10**9)), frame_id)


def raw(picture: np.ndarray, stamp: int) -> Any:
    height, width = picture.shape[:2]
    return type_store().types[IMAGE](header(stamp), height, width, "rgb8", 0, width * 3, picture.ravel())


def packed(picture: np.ndarray, stamp: int) -> Any:
    data = cv2.imencode(".jpg", picture[:, :, ::-1])[1].ravel()
    return type_store().types[COMPRESSED](header(stamp), "rgb8; jpeg compressed bgr8", data)


def write(folder: Path, lines: Iterable[tuple[str, int, Any]], storage: str = "MCAP") -> Path:
    """A bag of topic, log time and message of each line; a message of bytes is written as an Image as it is."""
    with Writer(folder, version=9, storage_plugin=StoragePlugin[storage]) as writer:
        connections: dict[str, Any] = {}
        for topic, time, message in lines:
            kind = IMAGE if isinstance(message, bytes) else message.__msgtype__
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=type_store())
            data = message if isinstance(message, bytes) else type_store().serialize_cdr(message, kind)
            writer.write(connections[topic], time, data)
    return folder


def drawn(folder: Path, frames: int = 40, cameras: int = 1, storage: str = "MCAP") -> Path:
    """A bag of a drawn clip of 160 x 120; the first camera raw, a second one as JPEG."""
    lines = []
    for index, picture in enumerate(DrawnClip(160, 120, frames)):
        stamp = START + index * STEP
        lines.append(("/front/image_raw", stamp + 1000, raw(picture, stamp)))
        if cameras > 1:
            lines.append(("/rear/image_raw/compressed", stamp + 2000, packed(picture[:, ::-1], stamp + 5)))
    return write(folder, lines, storage)


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in SAME}
