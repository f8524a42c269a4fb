"""Records the outputs of a gaze_node and keeps the figures of every frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CompressedImage

from autogaze_ros.msg import FixationArray, GazeMask

from ..images import stamp_of
from ..replay.mcap_writer import McapWriter


@dataclass(frozen=True)
class FrameFigures:
    """What one message of fixations says."""

    stamp: int
    #: seconds from the image's stamp to the receipt of its fixations
    latency: float
    tokens: int
    keyframe: bool
    gaze_ratio: float
    psnr: float


class Recorder(Node):
    """Writes a gaze_node's topics to an MCAP file as they come, without taking them apart.

    Args:
        writer: of the file; None keeps the figures only.
        namespace: of the gaze_node, of its /diagnostics and of this node; the file's topics are without it.
        pictures: record the overlay too, as JPEG.
    """

    def __init__(self, writer: McapWriter | None, namespace: str = "", pictures: bool = True) -> None:
        super().__init__("gaze_recorder", namespace=namespace)
        self.figures: list[FrameFigures] = []
        self.diagnostics: dict[str, str] = {}
        #: how many reports came
        self.reports = 0
        #: what chose, by the last fixations
        self.source = ""
        #: why the gaze_node can't work, once it says so
        self.failure = ""
        self._writer = writer
        self._namespace = namespace
        self._node = f"{namespace}/gaze_node"
        names = ["fixations", "mask"] + ["overlay/compressed"] * pictures
        self.watched = [f"{self._node}/{name}" for name in names]
        kinds: list[Any] = [FixationArray, GazeMask, CompressedImage]
        profile = QoSProfile(depth=50, reliability=QoSReliabilityPolicy.RELIABLE)
        for topic, kind in zip(self.watched, kinds, strict=False):
            self.create_subscription(kind, topic, self._recording(topic, kind), profile, raw=True)
        self.reporting = f"{namespace}/diagnostics"
        self.create_subscription(DiagnosticArray, self.reporting, self._on_diagnostics, 10)

    def ready(self) -> bool:
        """Whether the gaze_node's topics are all there and it knows of this recorder, so that nothing is missed.

        A report shows that: the node matches subscriptions in their order, and that of the reports is the last.
        """
        return bool(self.diagnostics) and self.configured()

    def configured(self) -> bool:
        """Whether the gaze_node's topics are all there."""
        return all(self.count_publishers(topic) for topic in self.watched)

    def settled(self) -> bool:
        """Whether the last report accounts for every image that the gaze_node received: none is in work."""
        values = self.diagnostics
        ended = [int(v) for k, v in values.items() if k.startswith("dropped: ") and k != "dropped: transport"]
        return bool(values) and int(values["frames received"]) <= int(values["frames answered"]) + sum(ended)

    def _recording(self, topic: str, kind: Any) -> Any:
        name = f"{kind.__module__.split('.')[0]}/msg/{kind.__name__}"
        plain = topic.removeprefix(self._namespace)

        def record(data: bytes) -> None:
            now = self.get_clock().now().nanoseconds
            if self._writer is not None:
                self._writer.write(plain, name, data, now)
            if kind is FixationArray:
                message = deserialize_message(data, FixationArray)
                stamp = stamp_of(message)
                self.source = " ".join(filter(None, (message.source, message.model)))
                self.figures.append(
                    FrameFigures(
                        stamp,
                        (now - stamp) / 1e9,
                        len(message.fixations),
                        message.keyframe,
                        message.gaze_ratio,
                        message.psnr,
                    )
                )

        return record

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name == f"{self._node}: gaze":
                self.diagnostics = {pair.key: pair.value for pair in status.values}
                self.reports += 1
                if status.level == status.ERROR and status.message.startswith(
                    ("not configured", "not activated")
                ):
                    self.failure = status.message
