"""What a replay writes is, byte for byte, what the node would send.

But for the bytes that fill up gaps between fields: the middleware leaves in them what was in memory.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from camera_encodings import ENCODED, encoded
from gaze_client import Gaze, image
from pictures import scene
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

pytest.importorskip("rosbags", reason="rosbags comes from pip only")
pytest.importorskip("mcap", reason="mcap comes from pip only")
pytest.importorskip("pyarrow", reason="pyarrow comes from pip only")

from mcap.reader import make_reader

from autogaze_ros.pipeline import Pipeline
from autogaze_ros.replay import cdr
from autogaze_ros.replay.mcap_writer import McapWriter, type_store
from autogaze_ros.replay.reader import open_input
from autogaze_ros.replay.run import Options, replay
from autogaze_ros.ros.images import compressed_message, frame_from_image, image_message
from autogaze_ros.ros.messages import FixationWriter, mask_message
from autogaze_ros.settings import Settings

STAMP = 1_700_000_001_999_999_999


@pytest.fixture
def heads() -> tuple[Header, object]:
    head = Header(frame_id="camera/optique_é")
    head.stamp.sec, head.stamp.nanosec = divmod(STAMP, 10**9)
    return head, cdr.header(STAMP, "camera/optique_é")


def sent(message: object) -> bytes:
    """A message as rclpy serializes it, with zeros in the gaps between fields."""
    kind = type(message)
    name = f"{kind.__module__.split('.')[0]}/msg/{kind.__name__}"
    data = serialize_message(message)
    zeroed = bytes(type_store().serialize_cdr(type_store().deserialize_cdr(data, name), name))
    assert len(zeroed) == len(data)
    assert deserialize_message(zeroed, kind).header == message.header
    return zeroed


@pytest.mark.parametrize(
    "settings",
    [
        Settings(),
        Settings(source="patch_diff"),
        Settings(resolution="tile_grid", budget=5),
        Settings(resolution="tile_exact", tile_overlap=32, mask_style="effective"),
        Settings(mask_style="deduplicated", target_psnr=0),
    ],
    ids=["greedy", "patch_diff", "tile_grid", "tile_exact", "deduplicated"],
)
def test_fixations_and_masks(heads: tuple, settings: Settings) -> None:
    pipeline, writer = Pipeline(settings), FixationWriter()
    for index in (0, 1, 1):  # the third has nothing new
        gaze = pipeline.step(frame_from_image(image(scene(index))))
        made = cdr.fixations_cdr(gaze, heads[1])
        assert made == sent(writer.write(gaze, heads[0]))
        rows = cdr.fixations_of(made, len(gaze))
        assert rows["token_id"].tolist() == gaze.ids.tolist()
        mask = mask_message(gaze, settings.mask_style, heads[0])
        assert cdr.mask_cdr(gaze, settings.mask_style, heads[1]) == sent(mask)


def test_pictures(heads: tuple) -> None:
    rgb = scene()
    rgba = np.concatenate([rgb, rgb[:, :, :1]], axis=2)
    for picture in (rgb, rgba):
        for order in ("rgb", "bgr"):
            message = compressed_message(picture, order, 85, heads[0])
            assert cdr.compressed_cdr(picture, order, 85, heads[1]) == sent(message)
    for picture, encoding in ((rgb, "rgb8"), (rgb[:, ::2], "bgr8"), (rgba, "rgba8"), (rgb[:, :, 0], "mono8")):
        assert cdr.image_cdr(picture, encoding, heads[1]) == sent(image_message(picture, encoding, heads[0]))


@pytest.mark.parametrize("name", ENCODED)
def test_a_recorded_image_has_the_same_pixels_as_a_received_one(tmp_path: Path, name: str) -> None:
    message = encoded(name, scene(), padding=5)
    with McapWriter(tmp_path / "one.mcap") as writer:
        writer.write("/camera", cdr.IMAGE, serialize_message(message), 7)
    with open_input(tmp_path / "one.mcap") as source:
        ((*_, frame),) = source.images()
    received = frame_from_image(message)
    assert (frame.order, frame.encoding) == (received.order, received.encoding)
    assert np.array_equal(frame.pixels, received.pixels)


@pytest.mark.parametrize("kind", [Image, CompressedImage])
def test_a_replay_of_what_was_recorded_has_the_nodes_fixations(
    gaze: Gaze, tmp_path: Path, kind: type
) -> None:
    """Of every frame, as each is sent when the one before is answered."""
    bag, answers = tmp_path / "recorded.mcap", []
    gaze.listen("fixations")
    with McapWriter(bag) as writer:
        for index in range(12):
            picture = scene(index) if index < 8 else np.ascontiguousarray(scene(index)[:, ::-1])
            message = image(picture, "rgb8")
            answer = gaze.ask(message)["fixations"]
            answers.append(sent(answer))
            stamp = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
            if kind is CompressedImage:  # the node saw the raw one: PNG keeps every pixel
                rgba = np.concatenate([picture, np.full_like(picture[:, :, :1], 255)], axis=2)
                recorded, name = compressed_message(rgba, "rgb", 90, message.header), cdr.COMPRESSED
            else:
                recorded, name = message, cdr.IMAGE
            writer.write("/camera", name, serialize_message(recorded), stamp + 1_000_000)
    replay(Options([bag], tmp_path / "run", report=False))
    with (tmp_path / "run/gaze.mcap").open("rb") as file:
        found = [m.data for s, _, m in make_reader(file).iter_messages() if s and s.name == cdr.FIXATIONS]
    assert len(found) == len(answers) == 12
    assert found == answers
