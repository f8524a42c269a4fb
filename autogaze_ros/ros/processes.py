"""A camera, a gaze_node and a recorder as real processes, for the demo and the benchmark."""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import rclpy

from ..errors import AutogazeError
from ..replay.mcap_writer import McapWriter
from ..resources import transport_environment
from .recorder import Recorder
from .stopping import StopSignals


class DemoError(AutogazeError, RuntimeError):
    """The processes did not do what they should; the message says which and what to look at."""


class Interrupted(AutogazeError):
    """A signal ended the run early; what there was is written.

    Args:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}; the figures are of what came before")
        self.status = 128 + number


@dataclass(frozen=True)
class Played:
    """What came of a run."""

    recorder: Recorder
    #: images that the camera sent
    sent: int
    #: from the first of them to the last
    seconds: float
    #: the signal that ended the run early, or 0
    signal: int = 0


def environment() -> dict[str, str]:
    """What the processes get set: the transport's profile, and to stay on this machine; not what the user has set."""
    own = ("ROS_AUTOMATIC_DISCOVERY_RANGE", "ROS_LOCALHOST_ONLY", "ROS_STATIC_PEERS")
    if any(os.environ.get(name) for name in own):
        return transport_environment()
    # Humble knows the old name only.
    old = os.environ.get("ROS_DISTRO") == "humble"
    here = {"ROS_LOCALHOST_ONLY": "1"} if old else {"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
    return transport_environment() | here


def ros_arguments(parameters: dict[str, Any], namespace: str = "") -> list[str]:
    """``-p name:=value`` for each parameter, and everything under a namespace, the reports too."""
    words = ["--ros-args"]
    if namespace:
        words += ["-r", f"__ns:={namespace}", "-r", f"/diagnostics:={namespace}/diagnostics"]
    for name, value in parameters.items():
        # JSON is YAML in which strings stay strings, whatever they look like.
        words += ["-p", f"{name}:={json.dumps(value, ensure_ascii=False)}"]
    return words


def start(
    module: str,
    parameters: dict[str, Any],
    namespace: str = "",
    variables: dict[str, str] | None = None,
    **options: Any,
) -> subprocess.Popen[str]:
    """Start ``python -m module`` in a process group of its own: Ctrl-C reaches it through :func:`stop` only.

    Args:
        module: to run.
        parameters: of its node.
        namespace: of its node.
        variables: all of its environment; this process's with :func:`environment` where not given.
        options: further ones of `subprocess.Popen`.
    """
    command = [sys.executable, "-m", module, *ros_arguments(parameters, namespace)]
    if variables is None:
        variables = os.environ | environment()
    return subprocess.Popen(command, env=variables, text=True, process_group=0, **options)


def stop(process: subprocess.Popen[str], patience: float = 10.0) -> int:
    """Tell a process to end, kill it if it does not, and return its exit status."""
    if process.poll() is None:
        process.terminate()  # and no interrupt: that would be a traceback while Python starts
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
) -> Played:
    """Play a camera into a gaze_node and record what it publishes.

    All of it under a namespace that is this run's alone, and on this machine only: neither another run nor a
    robot's nodes have a part in it. SIGINT, SIGTERM and SIGHUP end it early and in order.

    Args:
        camera: parameters of the camera.
        node: parameters of the gaze_node.
        writer: where to record to.
        pictures: record the overlay too.
        progress: called ten times a second.

    Raises:
        DemoError: a process failed, or nothing came for long.
    """
    os.environ.update(environment())
    namespace = f"/autogaze_demo_{os.getpid()}_{secrets.token_hex(2)}"
    with _signals() as stopping:
        recorder = Recorder(writer, namespace, pictures)
        gaze_node = start("autogaze_ros.ros.node", node, namespace)
        player = None
        try:
            waiting = _Watch(recorder, gaze_node, stopping, progress)
            waiting.spin_until(recorder.ready, waiting.starts)
            if stopping.came:
                return Played(recorder, 0, 0.0, stopping.number)
            player = start(
                "autogaze_ros.ros.camera",
                camera | {"wait_for_subscribers": 1},
                namespace,
                stdout=subprocess.PIPE,
            )
            playing = _Watch(recorder, gaze_node, stopping, progress)
            playing.spin_until(lambda: player.poll() is not None, playing.answers)
            sent, seconds = _counts(player, stopping)
            # Reports until none is in work, so that their counts are those of the end.
            recorder.diagnostics, end = {}, time.monotonic() + 10
            ending = _Watch(recorder, gaze_node, None, progress)
            ending.spin_until(lambda: recorder.settled() or time.monotonic() > end, ending.answers)
            return Played(recorder, sent, seconds, stopping.number)
        finally:
            for process in (player, gaze_node):
                if process is not None:
                    stop(process)
            recorder.destroy_node()


def _counts(player: subprocess.Popen[str], stopping: StopSignals) -> tuple[int, float]:
    """How many images the camera sent and for how long; stops it where it runs still."""
    stop(player)
    output = player.stdout.read() if player.stdout else ""
    told = re.search(r"^sent (\d+)\nin ([\d.]+) s", output, re.MULTILINE)
    if stopping.came and not told:
        return 0, 0.0
    if player.returncode or not told:
        raise DemoError(f"the camera ended with status {player.returncode}; its reason is above")
    return int(told[1]), float(told[2])


@contextmanager
def _signals() -> Iterator[StopSignals]:
    """ROS, and signals as a flag, for a while."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    stopping = StopSignals()
    # The end of the terminal: the processes, in groups of their own, would outlive it.
    signal.signal(signal.SIGHUP, signal.getsignal(signal.SIGTERM))
    stopping.init([])
    try:
        yield stopping
    finally:
        stopping.shutdown(None)
        for number, handler in before.items():
            signal.signal(number, handler)


class _Watch:
    """Spins the recorder while a gaze_node is at work, and tells when it is not."""

    #: seconds without a sign of life
    PATIENCE = 30.0

    def __init__(
        self,
        recorder: Recorder,
        gaze_node: subprocess.Popen[str],
        stopping: StopSignals | None,
        progress: Callable[[Recorder], None],
    ) -> None:
        self._recorder = recorder
        self._gaze_node = gaze_node
        self._stopping = stopping
        self._progress = progress
        self._alive = self._begun = time.monotonic()
        self._reports = recorder.reports

    def spin_until(self, done: Callable[[], bool], check: Callable[[], None]) -> None:
        """Spin until done or told to stop.

        Raises:
            DemoError: the gaze_node ended or can't work, or the check says so.
        """
        shown = 0.0
        while not done() and not (self._stopping and self._stopping.came):
            rclpy.spin_once(self._recorder, timeout_sec=0.05)
            if self._recorder.failure:
                raise DemoError(f"gaze_node is {self._recorder.failure}")
            if self._gaze_node.poll() is not None:
                raise DemoError(
                    f"gaze_node ended with status {self._gaze_node.returncode}; its reason is above"
                )
            check()
            if time.monotonic() - shown > 0.1:
                shown = time.monotonic()
                self._progress(self._recorder)

    def starts(self) -> None:
        """Before its first report it may take any time, as loading a model does, once it is there at all."""
        seen = self._recorder.count_publishers(self._recorder.reporting) > 0
        if seen and not self._recorder.configured():
            self._alive = time.monotonic()
        self._must_be_alive(2 * self.PATIENCE)

    def answers(self) -> None:
        """It reports every second, and gets images."""
        if self._recorder.reports != self._reports:
            self._reports, self._alive = self._recorder.reports, time.monotonic()
        self._must_be_alive(self.PATIENCE)
        idle = time.monotonic() - self._begun > 2 * self.PATIENCE
        if idle and self._recorder.diagnostics.get("frames received") == "0":
            raise DemoError(
                f"gaze_node got no image for {2 * self.PATIENCE:.0f} s; its log above may say why"
            )

    def _must_be_alive(self, patience: float) -> None:
        if time.monotonic() - self._alive > patience:
            raise DemoError(
                f"nothing came from gaze_node for {patience:.0f} s; its log above says why, "
                "or messages don't reach this process"
            )
