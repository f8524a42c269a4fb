"""One ROS node of the test process."""

from __future__ import annotations

import contextlib
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from gaze_process import PATIENCE
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, QoSReliabilityPolicy

RELIABLE = QoSProfile(depth=100, reliability=QoSReliabilityPolicy.RELIABLE)
BEST_EFFORT = QoSProfile(depth=10, reliability=QoSReliabilityPolicy.BEST_EFFORT)


class Client:
    """A ROS node of the test process, spun only while it waits for something."""

    def __init__(self) -> None:
        # A context of its own leaves the signals and the default context to the programs under test.
        self.context = Context()
        rclpy.init(context=self.context)
        self.node = Node("test_client", context=self.context)
        self._executor = SingleThreadedExecutor(context=self.context)
        self._executor.add_node(self.node)
        self._diagnostics: dict[str, list[DiagnosticStatus]] = defaultdict(list)
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, RELIABLE)

    def until(self, condition: Callable[[], Any], what: str, patience: float = PATIENCE) -> Any:
        """Spin until the condition holds, and return what it gave; fails after long."""
        deadline = time.monotonic() + patience
        while not (result := condition()):
            assert time.monotonic() < deadline, f"after {patience:.0f} s still not: {what}"
            self._executor.spin_once(timeout_sec=0.05)
        return result

    def spin(self, seconds: float) -> None:
        """Spin for a time; for showing that something does not come."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._executor.spin_once(timeout_sec=0.02)

    def call(self, service: Any, request: Any, again: bool = True) -> Any:
        """Call a service and return its response.

        Args:
            service: the client of the service.
            request: to send.
            again: ask anew where no response comes, as the first one can get lost: the server may not yet
                have discovered where to send it. Only for what can be done twice.
        """
        self.until(service.service_is_ready, f"the service {service.srv_name} is there")
        deadline = time.monotonic() + PATIENCE
        while True:
            future = service.call_async(request)
            with contextlib.suppress(AssertionError):
                self.until(future.done, "a response", PATIENCE / 5 if again else PATIENCE)
                return future.result()
            assert time.monotonic() < deadline, f"no response from {service.srv_name}"

    def diagnostics(self, name: str) -> list[DiagnosticStatus]:
        """All reports of a node so far."""
        return self._diagnostics[f"{name}: gaze"]

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            self._diagnostics[status.name].append(status)

    def close(self) -> None:
        """Take it down."""
        self._executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)
