"""Speaks with a gaze_node over DDS, as a camera and as its users do."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import rclpy
from autogaze_ros.msg import FixationArray, GazeMask
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from gaze_process import PATIENCE, Program
from lifecycle_msgs.srv import ChangeState, GetState
from pictures import scene
from rcl_interfaces.srv import GetParameters, SetParameters
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter, parameter_value_to_python
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image
from std_srvs.srv import SetBool, Trigger

from autogaze_ros.ros.images import image_message

Values = dict[str, str]
Condition = Callable[[Values, DiagnosticStatus], bool]

RELIABLE = QoSProfile(depth=100, reliability=QoSReliabilityPolicy.RELIABLE)
BEST_EFFORT = QoSProfile(depth=10, reliability=QoSReliabilityPolicy.BEST_EFFORT)
KINDS: dict[str, type] = {
    "fixations": FixationArray,
    "mask": GazeMask,
    "mask_image": Image,
    "overlay": Image,
    "overlay/compressed": CompressedImage,
    "reconstruction": Image,
}


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

    def call(self, kind: Any, name: str, request: Any) -> Any:
        """Call a service and return its response."""
        client = self.node.create_client(kind, name)
        try:
            self.until(client.service_is_ready, f"the service {name} is there")
            future = client.call_async(request)
            self.until(future.done, f"the service {name} answers")
            return future.result()
        finally:
            self.node.destroy_client(client)

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


class Gaze:
    """A running gaze_node with everything to talk to it.

    Args:
        client: of this process.
        parameters: of the node, given at start.
        arguments: further ROS arguments, such as remappings.
        topic: where the node takes its images, relative to its namespace.
        kind: of its images.
        camera: quality of service of the publisher that sends them.
    """

    def __init__(
        self,
        client: Client,
        parameters: dict[str, Any] | None = None,
        arguments: Iterable[str] = (),
        topic: str = "image",
        kind: type = Image,
        camera: QoSProfile = RELIABLE,
    ) -> None:
        self.client = client
        self.program = Program("autogaze_ros.ros.node", parameters or {}, list(arguments))
        self.namespace = self.program.namespace
        self.name = f"{self.namespace}/gaze_node"
        self.topic = f"{self.namespace}/{topic}"
        self.publisher = client.node.create_publisher(kind, self.topic, camera)
        self.messages: dict[str, list[Any]] = defaultdict(list)
        self._subscriptions: dict[str, Any] = {}
        self._stamps = itertools.count(time.time_ns(), 33_000_000)

    # Images and answers

    def listen(self, *outputs: str) -> None:
        """Subscribe to outputs."""
        for output in outputs:
            if output not in self._subscriptions:
                self._subscriptions[output] = self.client.node.create_subscription(
                    KINDS[output], f"{self.name}/{output}", self.messages[output].append, RELIABLE
                )

    def ignore(self, *outputs: str) -> None:
        """Unsubscribe again."""
        for output in outputs:
            self.client.node.destroy_subscription(self._subscriptions.pop(output))

    def connect(self, *outputs: str) -> None:
        """Subscribe to outputs and send images until all come: from then on every image is answered."""
        self.listen(*outputs)
        self.client.until(self.publisher.get_subscription_count, f"gaze_node subscribes to {self.topic}")
        counts: dict[str, int] = {}

        def answered() -> bool:
            return all(len(self.messages[output]) > count for output, count in counts.items())

        deadline = time.monotonic() + PATIENCE
        while not (counts and answered()):
            assert time.monotonic() < deadline, f"of {sorted(counts)} there came only {sorted(self.messages)}"
            counts = {output: len(self.messages[output]) for output in self._subscriptions}
            self.send(image(scene()))
            with contextlib.suppress(AssertionError):
                self.client.until(answered, "answers", 1.0)
        # Answers to earlier ones of these images may be on their way still.
        self.ask(image(scene()))

    def next_stamp(self) -> int:
        """Nanoseconds: 33 ms after the last one."""
        return next(self._stamps)

    def send(self, message: Any, stamp: int | None = None, frame_id: str = "camera") -> int:
        """Publish an image under a stamp (the next one where not given) and return that."""
        stamp = self.next_stamp() if stamp is None else stamp
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp, 1_000_000_000)
        message.header.frame_id = frame_id
        self.publisher.publish(message)
        return stamp

    def ask(
        self, message: Any, stamp: int | None = None, frame_id: str = "camera", of: Iterable[str] = ()
    ) -> dict[str, Any]:
        """Publish an image and return what each output (all listened to) answers to it, by output."""
        before = {output: len(self.messages[output]) for output in of or self._subscriptions}
        stamp = self.send(message, stamp, frame_id)

        def answers() -> dict[str, Any] | None:
            found = {o: [m for m in self.messages[o][n:] if stamp_of(m) == stamp] for o, n in before.items()}
            return {o: m[0] for o, m in found.items()} if all(found.values()) else None

        return self.client.until(answers, f"all of {sorted(before)} answer the image of stamp {stamp}")

    # Services, parameters, reports

    def set(self, **values: Any) -> list[tuple[bool, str]]:
        """Set parameters one by one; returns whether each was taken, and the reason."""
        parameters = [Parameter(name, value=value).to_parameter_msg() for name, value in values.items()]
        request = SetParameters.Request(parameters=parameters)
        results = self.client.call(SetParameters, f"{self.name}/set_parameters", request).results
        return [(result.successful, result.reason) for result in results]

    def must_set(self, **values: Any) -> None:
        """Set parameters that have to be taken."""
        results = self.set(**values)
        assert all(good for good, _ in results), results

    def get(self, name: str) -> Any:
        """A parameter's value."""
        request = GetParameters.Request(names=[name])
        response = self.client.call(GetParameters, f"{self.name}/get_parameters", request)
        return parameter_value_to_python(response.values[0])

    def reset(self) -> Trigger.Response:
        """Call ~/reset."""
        return self.client.call(Trigger, f"{self.name}/reset", Trigger.Request())

    def set_enabled(self, value: bool) -> SetBool.Response:
        """Call ~/set_enabled."""
        return self.client.call(SetBool, f"{self.name}/set_enabled", SetBool.Request(data=value))

    def state(self) -> str:
        """The lifecycle state."""
        return self.client.call(GetState, f"{self.name}/get_state", GetState.Request()).current_state.label

    def transition(self, name: str) -> bool:
        """Ask for a lifecycle transition; returns whether it was made."""
        request = ChangeState.Request()
        request.transition.label = name
        return self.client.call(ChangeState, f"{self.name}/change_state", request).success

    def wait_for_state(self, label: str) -> None:
        """Wait until the node is in a lifecycle state."""
        self.client.until(lambda: self.state() == label, f"{self.name} is {label}")

    def report(self, condition: Condition = lambda values, status: True) -> tuple[Values, DiagnosticStatus]:
        """The values and status of the next report that the condition takes."""
        reports = self.client.diagnostics(self.name)
        begin = len(reports)

        def newest() -> Any:
            for status in reports[begin:]:
                values = {pair.key: pair.value for pair in status.values}
                if condition(values, status):
                    return values, status
            return None

        try:
            return self.client.until(newest, f"{self.name} reports what is expected")
        except AssertionError as error:
            raise AssertionError(f"{error}; its last report: {reports[-1:]}") from None

    def close(self) -> None:
        """End the node and take down what talks to it."""
        self.program.discard()
        for subscription in self._subscriptions.values():
            self.client.node.destroy_subscription(subscription)
        self.client.node.destroy_publisher(self.publisher)


def stamp_of(message: Any) -> int:
    """Nanoseconds of a message's header."""
    return message.header.stamp.sec * 1_000_000_000 + message.header.stamp.nanosec


def image(pixels: np.ndarray, encoding: str = "rgb8") -> Image:
    """An image message without a stamp."""
    return image_message(pixels, encoding, Image().header)


def pixels_of(message: Image) -> np.ndarray:
    """(H, W, 3) RGB or (H, W) pixels of a message that a gaze_node sent."""
    channels = {"rgb8": 3, "bgr8": 3, "mono8": 1}[message.encoding]
    assert message.step == message.width * channels
    pixels = np.frombuffer(message.data, np.uint8).reshape(message.height, message.width, channels)
    return {"rgb8": pixels, "bgr8": pixels[..., ::-1], "mono8": pixels[..., 0]}[message.encoding]
