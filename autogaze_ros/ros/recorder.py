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
        node: full name of the gaze_node.
        pictures: record the overlay too, as JPEG.
    """

    def __init__(self, writer: McapWriter | None, node: str = "/gaze_node", pictures: bool = True) -> None:
        super().__init__("gaze_recorder")
        self.figures: list[FrameFigures] = []
        self.diagnostics: dict[str, str] = {}
        self._writer = writer
        self._node = node
        self.watched = [f"{node}/fixations", f"{node}/mask"] + [f"{node}/overlay/compressed"] * pictures
        kinds: list[Any] = [FixationArray, GazeMask, CompressedImage]
        profile = QoSProfile(depth=50, reliability=QoSReliabilityPolicy.RELIABLE)
        for topic, kind in zip(self.watched, kinds, strict=False):
            self.create_subscription(kind, topic, self._recording(topic, kind), profile, raw=True)
        self.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)

    def ready(self) -> bool:
        """Whether the gaze_node's topics are all there and it knows of this recorder, so that nothing is missed.

        A report shows that: the node matches subscriptions in their order, and that of the reports is the last.
        """
        return bool(self.diagnostics) and all(self.count_publishers(topic) for topic in self.watched)

    def _recording(self, topic: str, kind: Any) -> Any:
        name = f"{kind.__module__.split('.')[0]}/msg/{kind.__name__}"

        def record(data: bytes) -> None:
            now = self.get_clock().now().nanoseconds
            if self._writer is not None:
                self._writer.write(topic, name, data, now)
            if kind is FixationArray:
                message = deserialize_message(data, FixationArray)
                stamp = message.header.stamp.sec * 1_000_000_000 + message.header.stamp.nanosec
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
