"""Speaks with a gaze_node over DDS, as a camera and as its users do."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from autogaze_ros.msg import FixationArray, GazeMask
from diagnostic_msgs.msg import DiagnosticStatus
from gaze_process import PATIENCE, Program
from lifecycle_msgs.srv import ChangeState, GetAvailableTransitions, GetState
from pictures import scene
from rcl_interfaces.srv import DescribeParameters, GetParameters, ListParameters, SetParameters
from rclpy.parameter import Parameter, parameter_value_to_python
from rclpy.qos import QoSProfile
from ros_client import RELIABLE, Client
from sensor_msgs.msg import CompressedImage, Image
from std_srvs.srv import SetBool, Trigger

from autogaze_ros.ros.images import compressed_message, image_message

Values = dict[str, str]
Condition = Callable[[Values, DiagnosticStatus], bool]

KINDS: dict[str, type] = {
    "fixations": FixationArray,
    "mask": GazeMask,
    "mask_image": Image,
    "overlay": Image,
    "overlay/compressed": CompressedImage,
    "reconstruction": Image,
}
SERVICES: dict[str, type] = {
    "reset": Trigger,
    "set_enabled": SetBool,
    "set_parameters": SetParameters,
    "get_parameters": GetParameters,
    "list_parameters": ListParameters,
    "describe_parameters": DescribeParameters,
    "get_state": GetState,
    "change_state": ChangeState,
    "get_available_transitions": GetAvailableTransitions,
}


class Gaze:
    """A running gaze_node with everything to talk to it.

    Args:
        client: of this process.
        parameters: of the node, given at start.
        arguments: further ROS arguments, such as remappings.
        topic: where the node takes its images, relative to its namespace.
        kind: of its images.
        namespace: of the node; a fresh one where empty.
        camera: quality of service of the publisher that sends them.
        program: that runs the node already.
    """

    def __init__(
        self,
        client: Client,
        parameters: dict[str, Any] | None = None,
        arguments: Iterable[str] = (),
        topic: str = "image",
        kind: type = Image,
        namespace: str = "",
        camera: QoSProfile = RELIABLE,
        program: Any = None,
    ) -> None:
        self.client = client
        self.program = program or Program(
            "autogaze_ros.ros.node", parameters or {}, list(arguments), namespace
        )
        self.namespace = self.program.namespace
        self.name = f"{self.namespace}/gaze_node"
        self.topic = f"{self.namespace}/{topic}"
        self._kind = kind
        self.publisher = client.node.create_publisher(kind, self.topic, camera)
        self.messages: dict[str, list[Any]] = defaultdict(list)
        self._subscriptions: dict[str, Any] = {}
        # From the start, so that the node has discovered them all when they are used.
        self._services = {
            name: client.node.create_client(kind, f"{self.name}/{name}") for name, kind in SERVICES.items()
        }
        self._discovered = False  # whether the node can send responses about transitions
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
            self.send(self.picture())
            with contextlib.suppress(AssertionError):
                self.client.until(answered, "answers", 1.0)
        # Answers to earlier ones of these images may be on their way still.
        self.ask(self.picture())

    def picture(self) -> Image | CompressedImage:
        """One to send when its content does not matter."""
        if self._kind is Image:
            return image(scene())
        return compressed_message(scene(), "rgb", 90, Image().header)

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

    def send_bad(self, message: Any) -> tuple[Values, DiagnosticStatus]:
        """Publish an image that can't be used and return the first report that counts it as dropped."""
        reports = self.client.diagnostics(self.name)
        self.client.until(self.publisher.get_subscription_count, f"gaze_node subscribes to {self.topic}")
        # The last report will do: all bad images come from here, and each was waited for.
        last = reports[-1].values if reports else []
        dropped = next((int(pair.value) for pair in last if pair.key == "dropped: image"), 0)
        self.send(message)
        values, status = self.report(lambda values, _: int(values["dropped: image"]) > dropped)
        assert int(values["dropped: image"]) == dropped + 1
        return values, status

    # Services, parameters, reports

    def call(self, name: str, request: Any = None) -> Any:
        """The response of one of :data:`SERVICES`."""
        return self.client.call(
            self._services[name], SERVICES[name].Request() if request is None else request
        )

    def set(self, **values: Any) -> list[tuple[bool, str]]:
        """Set parameters one by one; returns whether each was taken, and the reason."""
        parameters = [Parameter(name, value=value).to_parameter_msg() for name, value in values.items()]
        request = SetParameters.Request(parameters=parameters)
        results = self.call("set_parameters", request).results
        return [(result.successful, result.reason) for result in results]

    def must_set(self, **values: Any) -> None:
        """Set parameters that have to be taken."""
        results = self.set(**values)
        assert all(good for good, _ in results), results

    def get(self, name: str) -> Any:
        """A parameter's value."""
        request = GetParameters.Request(names=[name])
        response = self.call("get_parameters", request)
        return parameter_value_to_python(response.values[0])

    def reset(self) -> Trigger.Response:
        """Call ~/reset."""
        return self.call("reset")

    def set_enabled(self, value: bool) -> SetBool.Response:
        """Call ~/set_enabled."""
        return self.call("set_enabled", SetBool.Request(data=value))

    def state(self) -> str:
        """The lifecycle state."""
        return self.call("get_state").current_state.label

    def transition(self, name: str) -> bool:
        """Ask for a lifecycle transition; returns whether it was made."""
        request = ChangeState.Request()
        if not self._discovered:
            # No transition can be asked for twice. This one, which there is not, can, until there is a response.
            request.transition.label = "none"
            assert not self.call("change_state", request).success
            self._discovered = True
        request.transition.label = name
        return self.client.call(self._services["change_state"], request, again=False).success

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
        for service in self._services.values():
            self.client.node.destroy_client(service)
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
