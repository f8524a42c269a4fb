"""The demo from end to end: three processes, a bag, a video, a sheet and a table."""

from __future__ import annotations

import os
import signal
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import rclpy
from autogaze_ros.msg import FixationArray, GazeMask
from gaze_client import stamp_of
from rclpy.serialization import deserialize_message
from rich.console import Console
from ros_client import Client
from sensor_msgs.msg import CompressedImage

pytest.importorskip("rosbags", reason="rosbags comes from pip only")
pytest.importorskip("mcap", reason="mcap comes from pip only")
pytest.importorskip("av", reason="av comes from pip only")

import av
from mcap.reader import make_reader

from autogaze_ros.demo import _table, run_demo, summary, write_video
from autogaze_ros.replay.clips import ClipError
from autogaze_ros.replay.mcap_writer import McapWriter, type_store
from autogaze_ros.ros import processes
from autogaze_ros.ros.messages import mask_to_numpy
from autogaze_ros.ros.processes import DemoError, Interrupted, environment, ros_arguments
from autogaze_ros.ros.recorder import FrameFigures
from autogaze_ros.settings import SettingsError

KINDS = {
    "/gaze_node/fixations": FixationArray,
    "/gaze_node/mask": GazeMask,
    "/gaze_node/overlay/compressed": CompressedImage,
}


def test_the_demo_writes_what_it_says(
    tmp_path: Path, transport: None, capsys: pytest.CaptureFixture[str]
) -> None:
    camera = {"frames": 40, "width": 320, "height": 240}
    figures, others = run_demo(
        tmp_path, camera, {"greedy": {"budget": 10}, "other": {"source": "patch_diff"}}
    )
    assert others["frames sent"] == 40
    assert {path.name for path in (tmp_path / "other").iterdir()} == {
        "gaze.mcap",
        "overlay.mp4",
        "overlay.png",
    }

    dropped = figures["dropped by the node"]
    assert (figures["source"], others["source"]) == ("greedy", "patch_diff")
    assert figures["frames sent"] == 40
    assert figures["frames received"] >= 30
    assert figures["frames received"] + figures["lost on the way"] == 40
    assert figures["frames received"] == figures["frames answered"] + sum(dropped.values())
    assert 0 < figures["keyframes aside: tokens a frame"] <= 10
    assert 0 < figures["latency p50 (ms)"] <= figures["latency p99 (ms)"]
    assert 0 < figures["keyframes aside: gaze ratio"] < 1
    assert figures["keyframes aside: PSNR mean (dB)"] >= figures["keyframes aside: PSNR min (dB)"] > 15

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
    for word in ("frames sent", "gaze.mcap", "other"):
        assert word in table


def test_a_demo_without_a_clip_says_why(
    tmp_path: Path, transport: None, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ClipError, match=r"/no/such.mp4: there is no such file"):
        run_demo(tmp_path, {"video": "/no/such.mp4"}, {"greedy": {}})
    clip = tmp_path / "clip.mp4"
    clip.write_text("none")
    with pytest.raises(DemoError, match="camera ended with status 1"):
        run_demo(tmp_path, {"video": str(clip)}, {"greedy": {}})
    assert "clip.mp4 can't be opened as a video" in capfd.readouterr().err


def test_a_node_that_fails_takes_nothing_from_the_one_before(
    tmp_path: Path, transport: None, capsys: pytest.CaptureFixture[str]
) -> None:
    camera = {"frames": 10, "width": 64, "height": 48}
    broken = {"source": "autogaze", "model": "/no/such/folder", "fallback": False}
    with pytest.raises(DemoError, match="not configured"):
        run_demo(tmp_path, camera, {"greedy": {}, "broken": broken})
    assert "frames sent" in capsys.readouterr().out
    assert (tmp_path / "overlay.mp4").is_file()


def test_what_a_demo_is_told_to_play_is_looked_at_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "start", lambda *_: pytest.fail("something was started"))
    for name in ("gaze.mcap", "overlay.mp4"):
        (tmp_path / name).touch()
        with pytest.raises(ClipError, match=f"{name} would be written over"):
            run_demo(tmp_path, {"video": str(tmp_path / "." / name)}, {"greedy": {}})


def test_a_demo_has_a_namespace_of_its_own_and_leaves_the_users_topics_alone(
    tmp_path: Path, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: set[str] = set()
    real = processes.run

    def watched(*arguments: Any) -> Any:
        def look(recorder: Any) -> None:
            seen.update(name for name, _ in recorder.get_topic_names_and_types())

        return real(*arguments[:-1], look)

    monkeypatch.setattr(processes, "run", watched)
    reports = len(client.diagnostics("/gaze_node"))
    run_demo(tmp_path, {"frames": 10, "width": 64, "height": 48}, {"greedy": {}})
    assert not {"/image", "/gaze_node/fixations", "/gaze_node/mask"} & seen
    assert [name for name in seen if name.startswith("/autogaze_demo_") and name.endswith("/image")]
    client.spin(0.2)
    assert len(client.diagnostics("/gaze_node")) == reports


@pytest.mark.parametrize(
    ("own", "set_for_it"),
    [
        ({}, {"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}),
        ({"ROS_DISTRO": "humble"}, {"ROS_LOCALHOST_ONLY": "1"}),
        ({"ROS_AUTOMATIC_DISCOVERY_RANGE": "SUBNET"}, {}),
        ({"ROS_LOCALHOST_ONLY": "0"}, {}),
        ({"ROS_STATIC_PEERS": "robot"}, {}),
    ],
)
def test_it_stays_on_this_machine_unless_the_user_says_otherwise(
    monkeypatch: pytest.MonkeyPatch, own: dict[str, str], set_for_it: dict[str, str]
) -> None:
    names = {"ROS_AUTOMATIC_DISCOVERY_RANGE", "ROS_LOCALHOST_ONLY", "ROS_STATIC_PEERS"}
    for name in names | {"ROS_DISTRO"}:
        monkeypatch.delenv(name, raising=False)
    for name, value in own.items():
        monkeypatch.setenv(name, value)
    assert {name: value for name, value in environment().items() if name in names} == set_for_it


def test_strings_stay_strings_on_the_way_to_a_process() -> None:
    words = ros_arguments({"video": "1.0", "loop": True, "rate": 2.0, "model": 'a "b": c'}, "/mine")
    assert words[1:5] == ["-r", "__ns:=/mine", "-r", "/diagnostics:=/mine/diagnostics"]
    assert words[6::2] == ['video:="1.0"', "loop:=true", "rate:=2.0", 'model:="a \\"b\\": c"']


@pytest.mark.parametrize(
    ("node", "reason"), [({"source": "foo"}, "source must be one of"), ({"budget": 0}, "budget must be 1")]
)
def test_settings_that_can_not_be_are_refused_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, node: dict[str, Any], reason: str
) -> None:
    monkeypatch.setattr(processes, "start", lambda *_: pytest.fail("something was started"))
    with pytest.raises(SettingsError, match=reason):
        run_demo(tmp_path / "out", {}, {"greedy": {}, "mine": node})
    assert not (tmp_path / "out").exists()


def test_a_node_that_can_not_be_configured_ends_the_demo_with_its_reason(
    tmp_path: Path, transport: None
) -> None:
    node = {"source": "autogaze", "model": "/no/such/folder", "fallback": False}
    with pytest.raises(DemoError, match=r"gaze_node is not configured: .*(/no/such/folder|package torch)"):
        run_demo(tmp_path, {}, {"mine": node})
    assert not rclpy.ok()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_demo_in_order_with_what_there_is(
    tmp_path: Path,
    transport: None,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    number: signal.Signals,
) -> None:
    real, before = processes.run, signal.getsignal(number)
    started: list[Any] = []

    def interrupted(*arguments: Any) -> Any:
        def progress(recorder: Any) -> None:
            if len(recorder.figures) > 5:
                os.kill(os.getpid(), number)

        return real(*arguments[:-1], progress)

    def start(*arguments: Any, **options: Any) -> Any:
        started.append(begin(*arguments, **options))
        return started[-1]

    begin = processes.start
    monkeypatch.setattr(processes, "run", interrupted)
    monkeypatch.setattr(processes, "start", start)
    camera = {"width": 64, "height": 48, "frames": 100, "loop": True}
    with pytest.raises(Interrupted, match=f"stopped by {number.name}") as caught:
        run_demo(tmp_path, camera, {"greedy": {}, "never": {}})
    assert caught.value.status == 128 + number
    assert [process.returncode for process in started] == [0, 0]
    assert signal.getsignal(number) == before
    told = capfd.readouterr()
    assert "frames sent" in told.out
    assert "never" not in told.out
    assert "Traceback" not in told.out + told.err
    with av.open(str(tmp_path / "overlay.mp4")) as container:
        assert len(list(container.decode(video=0))) >= 3
    with (tmp_path / "gaze.mcap").open("rb") as file:
        assert "/gaze_node/fixations" in {
            channel.topic for _, channel, _ in make_reader(file).iter_messages()
        }


def recorded(figures: list[FrameFigures], **diagnostics: Any) -> Any:
    names = {name.replace("_", " "): str(value) for name, value in diagnostics.items()}
    return SimpleNamespace(figures=figures, diagnostics=names, source="greedy")


def test_images_that_no_gap_can_show_are_counted_too() -> None:
    recorder = recorded([], frames_received=35)
    recorder.diagnostics |= {"dropped: transport": "2", "dropped: overload": "35"}
    figures = summary(recorder, 40)
    assert (figures["lost on the way"], figures["dropped by the node"]) == (5, {"overload": 35})
    assert summary(recorded([]), 40)["lost on the way"] == 40


def test_what_nobody_knows_is_a_dash() -> None:
    figures = summary(recorded([FrameFigures(1, 0.01, 5, True, 0.5, 30.0)]), 1)
    console = Console(width=80)
    with console.capture() as capture:
        console.print(_table({"greedy": figures}))
    assert "nan" not in capture.get()
    assert "-" in next(line for line in capture.get().splitlines() if "PSNR mean" in line)


def write_overlays(path: Path, count: int, period: int, width: int, height: int) -> None:
    store = type_store()
    types = store.types
    kind = "sensor_msgs/msg/CompressedImage"
    picture = np.random.default_rng(0).integers(0, 255, (height // 8, width // 8, 3), np.uint8)
    data = cv2.imencode(".jpg", cv2.resize(picture, (width, height)))[1].ravel()
    with McapWriter(path) as writer:
        for index in range(count):
            stamp = 5_000_000_000 + index * period
            time = types["builtin_interfaces/msg/Time"](*divmod(stamp, 1_000_000_000))
            message = types[kind](types["std_msgs/msg/Header"](time, "camera"), "jpeg", data)
            writer.write("/gaze_node/overlay/compressed", kind, store.serialize_cdr(message, kind), stamp)


def test_the_video_keeps_the_time_of_the_stamps_and_the_sheet_is_small(tmp_path: Path) -> None:
    write_overlays(tmp_path / "bag.mcap", 10, 100_000_000, 1920, 1080)
    assert write_video(tmp_path / "bag.mcap", tmp_path / "v.mp4", tmp_path / "s.png") == 10
    with av.open(str(tmp_path / "v.mp4")) as container:
        assert float(container.streams.video[0].average_rate or 0) == pytest.approx(10)
    assert cv2.imread(str(tmp_path / "s.png")).shape == (3 * 360, 3 * 640, 3)


@pytest.mark.parametrize("count", [0, 1])
def test_a_bag_with_hardly_an_overlay(tmp_path: Path, count: int) -> None:
    write_overlays(tmp_path / "bag.mcap", count, 1, 64, 48)
    assert write_video(tmp_path / "bag.mcap", tmp_path / "v.mp4", tmp_path / "s.png") == count
    assert (tmp_path / "v.mp4").exists() == (tmp_path / "s.png").exists() == bool(count)


def test_a_model_may_take_long_to_load_but_silence_ends_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(processes, "time", SimpleNamespace(monotonic=lambda: now))
    there, configured = False, False
    recorder: Any = SimpleNamespace(
        reports=0,
        reporting="/diagnostics",
        diagnostics={},
        count_publishers=lambda topic: int(there),
        configured=lambda: configured,
    )
    watch = processes._Watch(recorder, None, None, lambda _: None)  # type: ignore[arg-type]
    there = True
    for _ in range(100):  # it is there and loads
        now += 10
        watch.starts()
    there = False  # or never was
    now += 61
    with pytest.raises(DemoError, match="nothing came from gaze_node"):
        watch.starts()

    watch = processes._Watch(recorder, None, None, lambda _: None)  # type: ignore[arg-type]
    recorder.diagnostics = {"frames received": "5"}
    for _ in range(10):  # a gap in a bag: reports without figures
        now += 20
        recorder.reports += 1
        watch.answers()
    recorder.diagnostics = {"frames received": "0"}
    with pytest.raises(DemoError, match="got no image"):
        watch.answers()
