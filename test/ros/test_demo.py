"""The demo from end to end: three processes, a bag, a video, a sheet and a table."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from autogaze_ros.msg import FixationArray, GazeMask
from gaze_client import stamp_of
from mcap.reader import make_reader
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CompressedImage

from autogaze_ros.demo import run_demo
from autogaze_ros.replay.mcap_writer import type_store
from autogaze_ros.ros.messages import mask_to_numpy
from autogaze_ros.ros.processes import DemoError

KINDS = {
    "/gaze_node/fixations": FixationArray,
    "/gaze_node/mask": GazeMask,
    "/gaze_node/overlay/compressed": CompressedImage,
}


def test_the_demo_writes_what_it_says(
    tmp_path: Path, transport: None, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = run_demo(tmp_path, {"frames": 40, "width": 320, "height": 240}, {"budget": 10})

    dropped = figures["dropped"]
    assert figures["frames sent"] == 40
    # What the middleware lost of the very last ones nobody can know.
    assert 30 <= figures["frames received"] + dropped["transport"] <= 40
    lost = sum(count for cause, count in dropped.items() if cause != "transport")
    assert figures["frames received"] == figures["frames answered"] + lost
    assert 0 < figures["tokens a frame"] <= 10
    assert 0 < figures["latency p50 (ms)"] <= figures["latency p99 (ms)"]
    assert 0 < figures["gaze ratio"] < 1
    assert figures["PSNR mean (dB)"] >= figures["PSNR min (dB)"] > 15

    messages: dict[str, list[Any]] = defaultdict(list)
    with (tmp_path / "gaze.mcap").open("rb") as file:
        reader = make_reader(file)
        assert reader.get_header().profile == "ros2"
        for schema, channel, message in reader.iter_messages():
            kind = KINDS[channel.topic]
            assert schema.name == f"{kind.__module__.split('.')[0]}/msg/{kind.__name__}"
            messages[channel.topic].append(deserialize_message(message.data, kind))
            # And without ROS.
            again = type_store().deserialize_cdr(message.data, schema.name)
            assert again.header.frame_id == "camera"
            assert again.header.stamp.nanosec == messages[channel.topic][-1].header.stamp.nanosec
    fixations, masks, overlays = (messages[topic] for topic in KINDS)
    assert len(fixations) == figures["frames answered"]
    assert (fixations[0].keyframe, fixations[0].frame_index) == (True, 0)  # nothing was missed at the start
    assert sum(message.keyframe for message in fixations) == figures["keyframes"]
    stamps = [stamp_of(message) for message in fixations]
    assert stamps == sorted(set(stamps))
    assert {stamp_of(message) for message in masks} <= set(stamps)
    assert {stamp_of(message) for message in overlays} <= set(stamps)
    by_stamp = {stamp_of(message): message for message in fixations}
    for mask in masks:
        assert sum(bitmap.sum() for bitmap in mask_to_numpy(mask)) == len(by_stamp[stamp_of(mask)].fixations)

    with av.open(str(tmp_path / "overlay.mp4")) as container:
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(pictures) == len(overlays)
    assert len(pictures) >= 20
    assert pictures[0].shape == (240, 320, 3)
    last = cv2.imdecode(np.frombuffer(overlays[-1].data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    assert np.abs(pictures[-1].astype(int) - last).mean() < 8
    sheet = cv2.imread(str(tmp_path / "overlay.png"))
    assert sheet.shape == (720, 960, 3)
    assert all(part.std() > 10 for row in np.vsplit(sheet, 3) for part in np.hsplit(row, 3))  # nine pictures
    table = capsys.readouterr().out
    assert "frames sent" in table
    assert "gaze.mcap" in table


def test_a_demo_without_a_clip_says_why(
    tmp_path: Path, transport: None, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(DemoError, match="camera ended with status 1"):
        run_demo(tmp_path, {"video": "/no/such.mp4"}, {})
    assert "/no/such.mp4 can't be opened as a video" in capfd.readouterr().err
