"""autogaze_camera: clips, videos and bags as a camera would send them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from gaze_client import pixels_of, stamp_of
from gaze_process import Program
from pictures import scene
from ros_client import RELIABLE, Client
from sensor_msgs.msg import CompressedImage, Image

from autogaze_ros.replay.clips import DrawnClip

BAG_TOPICS = {
    "/cam": "sensor_msgs/msg/Image",
    "/jpeg": "sensor_msgs/msg/CompressedImage",
    "/note": "std_msgs/msg/String",
}
CAMERA = "autogaze_ros.ros.camera"
PIP_ONLY = "{} comes from pip only"
Camera = Callable[..., tuple[Program, list[Any]]]


@pytest.fixture
def play(client: Client, run: Callable[..., Program]) -> Camera:
    """Runs a camera to its end; returns it and what came from it."""

    def begin(parameters: dict[str, Any], kind: type = Image) -> tuple[Program, list[Any]]:
        program = run(CAMERA, parameters | {"wait_for_subscribers": 1})
        messages: list[Any] = []
        topic = f"{program.namespace}/image" + ("/compressed" if kind is CompressedImage else "")
        subscription = client.node.create_subscription(kind, topic, messages.append, RELIABLE)
        client.until(lambda: program.process.poll() is not None, "the camera ends")
        client.spin(0.2)
        client.node.destroy_subscription(subscription)
        assert program.wait() == 0
        stamps = [stamp_of(message) for message in messages]
        assert stamps == sorted(set(stamps))
        return program, messages

    return begin


def places(messages: list[Any], pictures: list[np.ndarray], off: float) -> list[int]:
    """Which of the pictures each message shows, by the least mean difference; fails where that exceeds ``off``."""
    found = []
    for message in messages:
        shown = (
            cv2.imdecode(np.frombuffer(message.data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
            if isinstance(message, CompressedImage)
            else pixels_of(message)
        )
        differences = [np.abs(shown.astype(int) - picture).mean() for picture in pictures]
        found.append(int(np.argmin(differences)))
        assert min(differences) <= off
    return found


def assert_played(found: list[int], count: int) -> None:
    """In order and from the first; one or two may get lost on a busy machine, as the camera keeps the newest only."""
    assert found == sorted(set(found))
    assert len(found) >= count - 2


@pytest.mark.parametrize("compressed", [False, True])
def test_the_drawn_clip(play: Camera, compressed: bool) -> None:
    parameters = {"width": 160, "height": 120, "frames": 12, "rate": 20.0, "frame_id": "eye"}
    kind = CompressedImage if compressed else Image
    program, messages = play(parameters | {"compressed": compressed}, kind)
    assert "sent 12\n" in program.log()
    assert_played(places(messages, list(DrawnClip(160, 120, 12)), 8 if compressed else 0), 12)
    assert {message.header.frame_id for message in messages} == {"eye"}
    took = (stamp_of(messages[-1]) - stamp_of(messages[0])) / 1e9
    assert took > (len(messages) - 1) / 20 * 0.8  # not faster than asked for


def test_a_clip_in_a_loop_goes_on_until_the_limit(play: Camera) -> None:
    parameters = {"width": 64, "height": 48, "frames": 4, "rate": 50, "loop": True, "limit": 10}
    program, messages = play(parameters)
    assert "sent 10\n" in program.log()
    assert len(messages) >= 8


def test_a_single_picture_loops_too(play: Camera) -> None:
    program, messages = play({"width": 64, "height": 48, "frames": 1, "rate": 50.0, "loop": True, "limit": 5})
    assert "sent 5\n" in program.log()
    assert len(messages) >= 3


def test_it_needs_rosbags_for_bags_only() -> None:
    code = "import sys; sys.modules.update(rosbags=None, mcap=None); import autogaze_ros.ros.camera"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


def test_a_video(play: Camera, tmp_path: Path) -> None:
    av = pytest.importorskip("av", reason=PIP_ONLY.format("av"))
    pictures = [scene(index, 160, 120) for index in range(8)]
    path = tmp_path / "a clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "10"})
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    program, messages = play({"video": str(path)})
    assert "sent 8\n" in program.log()
    assert_played(places(messages, pictures, 8), 8)


def write_bag(path: Path) -> list[bytes]:
    """A bag of a topic of mono8 images, one of JPEGs and one of strings; returns the images' bytes."""
    for name in ("rosbags", "mcap"):
        pytest.importorskip(name, reason=PIP_ONLY.format(name))
    from rosbags.rosbag2 import Writer

    from autogaze_ros.replay.mcap_writer import type_store

    store = type_store()
    types = store.types
    time, header = types["builtin_interfaces/msg/Time"], types["std_msgs/msg/Header"]
    made = []
    with Writer(path, version=9) as writer:
        kinds = {
            "/cam": "sensor_msgs/msg/Image",
            "/jpeg": "sensor_msgs/msg/CompressedImage",
            "/note": "std_msgs/msg/String",
        }
        topics = {t: writer.add_connection(t, kind, typestore=store) for t, kind in kinds.items()}
        for index in range(5):
            stamp = 1_000_000_000 + index * 50_000_000
            pixels = scene(index, 64, 48)[..., 0].ravel()
            made.append(pixels.tobytes())
            head = header(time(index, 0), "in the bag")
            raw = types[BAG_TOPICS["/cam"]](head, 48, 64, "mono8", 0, 64, pixels)
            data = cv2.imencode(".jpg", scene(index, 64, 48)[..., ::-1])[1].ravel()
            packed = types[BAG_TOPICS["/jpeg"]](head, "jpeg", data)
            for topic, message in (
                ("/cam", raw),
                ("/jpeg", packed),
                ("/note", types[BAG_TOPICS["/note"]]("hello")),
            ):
                writer.write(topics[topic], stamp, store.serialize_cdr(message, BAG_TOPICS[topic]))
    return made


def test_a_bag(play: Camera, tmp_path: Path) -> None:
    made = write_bag(tmp_path / "bag")
    program, messages = play({"bag": str(tmp_path / "bag")})
    assert "sent 5\n" in program.log()
    assert_played([made.index(message.data.tobytes()) for message in messages], 5)
    for message in messages:
        assert (message.width, message.height, message.step, message.encoding) == (64, 48, 64, "mono8")
        assert message.header.stamp.sec > 1_000_000_000  # the present time, not the bag's


def test_a_bags_compressed_topic(play: Camera, tmp_path: Path) -> None:
    write_bag(tmp_path / "bag")
    _, messages = play({"bag": str(tmp_path / "bag"), "bag_topic": "/jpeg"}, CompressedImage)
    assert_played(places(messages, [scene(index, 64, 48) for index in range(5)], 10), 5)
    assert {message.format for message in messages} == {"jpeg"}


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"video": "/no/such.mp4"}, ["/no/such.mp4 can't be opened as a video"]),
        ({"video": "{folder}/text.mp4"}, ["text.mp4 can't be opened as a video"]),
        ({"bag": "/no/such/bag"}, ["/no/such/bag can't be read as a bag"]),
        ({"bag": "{folder}"}, ["can't be read as a bag"]),
        ({"bag": "{folder}/bag", "bag_topic": "/note"}, ["no image topic /note", "/cam, /jpeg"]),
        ({"width": 0}, ["0 x 480"]),
        ({"video": "a.mp4", "bag": "b"}, ["video and bag can't be played at once"]),
        ({"bag": "b", "webcam": 0}, ["bag and webcam can't be played at once"]),
        ({"bag_topic": "/cam"}, ["bag_topic is given without a bag"]),
        ({"bag": "b", "rate": 5.0}, ["rate can't be chosen for a bag"]),
        ({"bag": "b", "compressed": True}, ["compressed can't be chosen for a bag"]),
        ({"rate": -1.0}, ["rate must be 0 or more"]),
        ({"rate": "fast"}, ["rate must be a number, got 'fast'"]),
        ({"frames": "abc"}, ["frames must be a whole number, got 'abc'"]),
        ({"frames": 2.5}, ["frames must be a whole number, got 2.5"]),
        ({"loop": 1}, ["loop must be true or false, got 1"]),
        ({"video": 5}, ["video must be text, got 5"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else "",
)
def test_what_can_not_be_played_is_one_clear_error(
    run: Callable[..., Program], transport: None, tmp_path: Path, parameters: dict[str, Any], words: list[str]
) -> None:
    (tmp_path / "text.mp4").write_text("not a video")
    for parameter, name in (("video", "av"), ("bag", "rosbags"), ("bag", "mcap")):
        if parameter in parameters:
            pytest.importorskip(name, reason=PIP_ONLY.format(name))
    if "bag" in str(parameters.get("bag")):
        write_bag(tmp_path / "bag")
    filled = {
        name: value.replace("{folder}", str(tmp_path)) if isinstance(value, str) else value
        for name, value in parameters.items()
    }
    camera = run(CAMERA, filled)
    assert camera.wait() == 1
    log = camera.log()
    assert [word for word in words if word not in log] == []
    assert "sent 0\n" in log
    assert "Traceback" not in log
    assert log.count("[ERROR]") == 1
