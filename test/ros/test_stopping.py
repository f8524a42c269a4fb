"""Programs end when they are told to, with status 0 and nothing alarming in the log."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from gaze_client import Gaze, image
from gaze_process import Program
from pictures import scene

INT, TERM = signal.SIGINT, signal.SIGTERM


def assert_calm(log: str) -> None:
    assert [word for word in ("Traceback", "Exception", "Error", "[ERROR]", "[FATAL]") if word in log] == []


@pytest.mark.parametrize(
    "signals", [[INT], [INT, INT], [INT, INT, INT, INT], [TERM], [TERM, TERM], [INT, TERM]]
)
def test_a_node_at_work_stops(start: Callable[..., Gaze], signals: list[signal.Signals]) -> None:
    # Frames that take long, so that one is in work when the signal comes.
    gaze = start({"working_size": 896, "target_psnr": 0, "budget": 265, "keyframe_budget": 265})
    gaze.connect("fixations", "overlay", "reconstruction")
    picture = image(scene(0, 1280, 960))
    for _ in range(4):
        gaze.send(picture)
        gaze.client.spin(0.02)
    assert gaze.program.stop(*signals) == 0
    assert_calm(gaze.program.log())


@pytest.mark.parametrize("signals", [[INT], [INT, INT, TERM]])
def test_a_node_whose_frame_hangs_stops(held: tuple[Gaze, Path], signals: list[signal.Signals]) -> None:
    gaze, file = held
    begun = gaze.program.log().count("work begins")
    file.touch()
    gaze.send(image(scene()))
    gaze.client.until(lambda: gaze.program.log().count("work begins") > begun, "an image is in work")
    at = time.monotonic()
    assert gaze.program.stop(*signals) == 1
    assert time.monotonic() - at < 15
    assert "has not ended within 5 s" in gaze.program.log()
    assert "Traceback" not in gaze.program.log()


@pytest.mark.parametrize("signals", [[INT], [INT, INT], [TERM]])
def test_an_idle_node_stops(start: Callable[..., Gaze], signals: list[signal.Signals]) -> None:
    gaze = start({"autostart": False})
    gaze.state()
    assert gaze.program.stop(*signals) == 0
    assert_calm(gaze.program.log())


@pytest.mark.parametrize("signals", [[INT], [INT, INT], [TERM]])
def test_a_camera_stops(run: Callable[..., Program], transport: None, signals: list[signal.Signals]) -> None:
    camera = run("autogaze_ros.ros.camera", {"loop": True, "width": 64, "height": 48, "frames": 10})
    camera.wait_for_log("sending")
    assert camera.stop(*signals) == 0
    assert_calm(camera.log())
    assert "sent " in camera.log()
