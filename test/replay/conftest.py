"""Pictures and messages for bags and videos."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray


def picture(index: int) -> NDArray[np.uint8]:
    """(24, 32, 3) RGB: smooth, and another one for each index."""
    y, x = np.mgrid[:24, :32]
    return np.stack([x * 8, y * 10, np.full_like(x, index * 20)], axis=2).astype(np.uint8)


@pytest.fixture(scope="session")
def pictures() -> list[NDArray[np.uint8]]:
    return [picture(index) for index in range(6)]


@pytest.fixture(scope="session")
def messages(pictures) -> dict[str, list[Any]]:
    """Image and CompressedImage messages of the pictures, and a few that are no images, by type."""
    from autogaze_ros.replay.mcap_writer import type_store

    types = type_store().types
    stamps = [types["builtin_interfaces/msg/Time"](1, index * 1000) for index in range(len(pictures))]
    headers = [types["std_msgs/msg/Header"](stamp, "camera") for stamp in stamps]
    image, compressed = types["sensor_msgs/msg/Image"], types["sensor_msgs/msg/CompressedImage"]
    encoded = [cv2.imencode(".png", p[:, :, ::-1])[1] for p in pictures]
    return {
        "sensor_msgs/msg/Image": [
            image(h, 24, 32, "rgb8", 0, 96, p.ravel()) for h, p in zip(headers, pictures, strict=True)
        ],
        "sensor_msgs/msg/CompressedImage": [
            compressed(h, "png", data.ravel()) for h, data in zip(headers, encoded, strict=True)
        ],
        "std_msgs/msg/Header": headers,
    }


@pytest.fixture
def make_bag(tmp_path: Path, messages) -> Callable[..., Path]:
    """Writes a bag of topics with a type each; a message every microsecond, topic after topic."""
    from rosbags.rosbag2 import StoragePlugin, Writer

    from autogaze_ros.replay.mcap_writer import type_store

    def make(topics: dict[str, str], storage: str = "MCAP") -> Path:
        folder = tmp_path / f"bag_{storage}"
        with Writer(folder, version=9, storage_plugin=StoragePlugin[storage]) as writer:
            for topic, kind in topics.items():
                connection = writer.add_connection(topic, kind, typestore=type_store())
                for index, message in enumerate(messages[kind]):
                    writer.write(connection, index * 1000, type_store().serialize_cdr(message, kind))
        return folder

    return make
