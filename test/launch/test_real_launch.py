"""The launch files under ros2 launch itself, where ROS has it."""

import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

LAUNCH = Path(__file__).parents[2] / "launch"

pytest.importorskip(
    "launch_ros.actions", reason="launch_ros is not installed (it comes with ROS, PyPI has none)"
)
pytestmark = pytest.mark.skipif(not shutil.which("ros2"), reason="ros2 launch is not installed")


@pytest.mark.parametrize("name", ["autogaze.launch.py", "demo.launch.py"])
def test_arguments_can_be_shown(name):
    shown = subprocess.run(
        ["ros2", "launch", str(LAUNCH / name), "--show-args"], capture_output=True, text=True
    )
    assert shown.returncode == 0, shown.stderr
    assert "'source'" in shown.stdout


def test_cameras_come_up_and_go_down():
    import rclpy

    command = [
        "ros2",
        "launch",
        str(LAUNCH / "autogaze.launch.py"),
        "cameras:=front,rear",
        "image:=image_raw",
    ]
    launch = subprocess.Popen(command)
    context = rclpy.Context()
    rclpy.init(context=context)
    watcher = rclpy.create_node("watcher", context=context)
    try:
        deadline = time.monotonic() + 60
        while not all(watcher.count_subscribers(f"/{c}/image_raw") for c in ("front", "rear")):
            assert time.monotonic() < deadline, "the nodes did not subscribe"
            assert launch.poll() is None, "ros2 launch ended"
            time.sleep(0.2)
    finally:
        watcher.destroy_node()
        rclpy.shutdown(context=context)
        launch.send_signal(signal.SIGINT)
        status = launch.wait(30)
    assert status == 0
