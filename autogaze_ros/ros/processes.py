"""A camera, a gaze_node and a recorder as real processes, for the demo and the benchmark."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import rclpy

from ..errors import AutogazeError
from ..replay.mcap_writer import McapWriter
from ..resources import transport_environment
from .recorder import Recorder


class DemoError(AutogazeError, RuntimeError):
    """The processes did not do what they should; the message says which and what to look at."""


def ros_arguments(parameters: dict[str, Any]) -> list[str]:
    """``-p name:=value`` for each parameter."""
    words = ["--ros-args"]
    for name, value in parameters.items():
        words += ["-p", f"{name}:={str(value).lower() if isinstance(value, bool) else value}"]
    return words


def start(module: str, parameters: dict[str, Any], **options: Any) -> subprocess.Popen[str]:
    """Start ``python -m module`` as a process of its own, on the shipped transport profile."""
    command = [sys.executable, "-m", module, *ros_arguments(parameters)]
    return subprocess.Popen(command, env=os.environ | transport_environment(), text=True, **options)


def stop(process: subprocess.Popen[str], patience: float = 10.0) -> int:
    """Interrupt a process, kill it if it does not end, and return its exit status."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    try:
        return process.wait(patience)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def run(
    camera: dict[str, Any],
    node: dict[str, Any],
    writer: McapWriter | None,
    pictures: bool,
    progress: Callable[[Recorder], None],
) -> tuple[Recorder, int]:
    """Play a camera into a gaze_node and record what it publishes.

    Args:
        camera: parameters of the camera.
        node: parameters of the gaze_node.
        writer: where to record to.
        pictures: record the overlay too.
        progress: called ten times a second.

    Returns:
        The recorder with its figures, and how many images the camera sent.

    Raises:
        DemoError: a process failed or nothing came for half a minute.
    """
    os.environ.update(transport_environment())
    rclpy.init()
    recorder = Recorder(writer, pictures=pictures)
    gaze_node = start("autogaze_ros.ros.node", node)
    player = None
    try:
        _spin_until(recorder, recorder.ready, gaze_node, lambda _: None)
        player = start(
            "autogaze_ros.ros.camera", camera | {"wait_for_subscribers": 1}, stdout=subprocess.PIPE
        )
        _spin_until(recorder, lambda: player.poll() is not None, gaze_node, progress)
        output = player.stdout.read() if player.stdout else ""
        if player.returncode or not output.startswith("sent "):
            raise DemoError(f"the camera ended with status {player.returncode}; its reason is above")
        # One more report, so that its counts are those of the end.
        recorder.diagnostics = {}
        _spin_until(recorder, lambda: bool(recorder.diagnostics), gaze_node, progress)
        return recorder, int(output.split()[1])
    finally:
        for process in (player, gaze_node):
            if process is not None:
                stop(process)
        recorder.destroy_node()
        rclpy.try_shutdown()


def _spin_until(
    recorder: Recorder,
    done: Callable[[], bool],
    gaze_node: subprocess.Popen[str],
    progress: Callable[[Recorder], None],
) -> None:
    seen, since = len(recorder.figures), time.monotonic()
    shown = 0.0
    while not done():
        rclpy.spin_once(recorder, timeout_sec=0.05)
        if gaze_node.poll() is not None:
            raise DemoError(f"gaze_node ended with status {gaze_node.returncode}; its reason is above")
        if len(recorder.figures) != seen:
            seen, since = len(recorder.figures), time.monotonic()
        if time.monotonic() - since > 30:
            raise DemoError(
                "nothing came from gaze_node for 30 s; its log above says why, or messages don't reach this process"
            )
        if time.monotonic() - shown > 0.1:
            shown = time.monotonic()
            progress(recorder)
