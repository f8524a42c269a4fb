"""How many images get from a process to another one and how long they take, with the shipped profile and without."""

from __future__ import annotations

# isort: off
import autogaze_ros._process  # noqa: F401  (before NumPy)
# isort: on

import json
import os
import secrets
import subprocess
from collections.abc import Sequence
from typing import Any

import rclpy
from rclpy.node import Node
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from sensor_msgs.msg import Image

from ..images import stamp_of
from ..ros.processes import environment, start, stop
from ..ros.stopping import StopSignals
from .measure import BenchError, machine, must_be_positive, percentiles

#: name: whether the processes get the profile, and whether the subscriber is reliable
RUNS = {
    "without the profile, reliable": (False, True),
    "without the profile, best effort": (False, False),
    "with the profile, best effort": (True, False),
}


def bench_transport(sizes: Sequence[tuple[int, int]], images: int, rate: float) -> dict[str, Any]:
    """Send images from autogaze_camera to a subscriber that does nothing else.

    Args:
        sizes: width and height of the images.
        images: how many of each size.
        rate: images a second.

    Raises:
        BenchError: a number that is not above 0, or a process that failed.
    """
    must_be_positive(images=images, rate=rate, **{f"{w}x{h}": min(w, h) for w, h in sizes})
    result: dict[str, Any] = {"bench": "transport", "machine": machine(), "images": images, "rate (Hz)": rate}
    for name, (profile, reliable) in RUNS.items():
        result[name] = {f"{w} x {h}": _run(w, h, images, rate, profile, reliable) for w, h in sizes}
    return result


def _run(width: int, height: int, images: int, rate: float, profile: bool, reliable: bool) -> dict[str, Any]:
    variables = os.environ | environment()
    if not profile:
        variables = {
            name: value for name, value in variables.items() if not name.startswith(("FASTDDS_", "FASTRTPS_"))
        }
    namespace = f"/autogaze_bench_{os.getpid()}_{secrets.token_hex(2)}"
    clip = {"width": width, "height": height, "frames": 30, "preload": 30}
    camera = clip | {"rate": float(rate), "limit": images, "wait_for_subscribers": 1}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    receiver = start(__name__, {"reliable": reliable}, namespace, variables, **pipes)
    player = start("autogaze_ros.ros.camera", camera, namespace, variables, **pipes)
    try:
        sent, _ = player.communicate(timeout=60 + images / rate)
        if f"sent {images}\n" not in sent:
            raise BenchError(f"the camera did not send {images} images of {width} x {height}")
        receiver.terminate()
        told, _ = receiver.communicate(timeout=20)
    except subprocess.TimeoutExpired as error:
        raise BenchError(f"images of {width} x {height}: a process did not end in time") from error
    finally:
        for process in (player, receiver):
            stop(process)
    return {"arrived": len(latencies := json.loads(told)), "latency (ms)": percentiles(latencies)}


def main() -> None:
    """The subscriber: prints a list of latencies in seconds once it is told to stop."""
    signals = StopSignals()
    signals.init(None)
    node = Node("receiver")
    reliable: Any = node.declare_parameter("reliable", False).value
    kind = QoSReliabilityPolicy.RELIABLE if reliable else QoSReliabilityPolicy.BEST_EFFORT
    latencies: list[float] = []

    def receive(message: Image) -> None:
        latencies.append((node.get_clock().now().nanoseconds - stamp_of(message)) / 1e9)

    node.create_subscription(Image, "image", receive, QoSProfile(depth=5, reliability=kind))
    while not signals.came:
        rclpy.spin_once(node, timeout_sec=signals.PATIENCE)
    print(json.dumps(latencies), flush=True)
    signals.shutdown(node)


if __name__ == "__main__":
    main()
