"""The node's topics: each is made and sent only where somebody listens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.qos import QoSProfile
from sensor_msgs.msg import CompressedImage, Image

from autogaze_ros.msg import FixationArray, GazeMask

from ..gaze.frame import Frame
from ..gaze.gaze_frame import GazeFrame
from ..pipeline import Pipeline
from ..render import Renderer, Wanted
from .images import compressed_message, image_message
from .messages import FixationWriter, mask_message
from .qos import OVERRIDES, data_out, image_out, publisher_events

TOPICS: dict[str, tuple[type, Callable[[], QoSProfile]]] = {
    "~/fixations": (FixationArray, data_out),
    "~/mask": (GazeMask, data_out),
    "~/mask_image": (Image, image_out),
    "~/overlay": (Image, image_out),
    "~/overlay/compressed": (CompressedImage, image_out),
    "~/reconstruction": (Image, image_out),
}


class Outputs:
    """Publishes what is asked for of a frame's gaze, the fixations first.

    Args:
        node: a lifecycle node; its publishers send only while it is active.
        complain: told in words about a subscriber whose quality of service does not fit.
    """

    def __init__(self, node: Any, complain: Callable[[str], None]) -> None:
        self._node = node
        self._publishers: dict[str, Any] = {}
        try:
            for topic, (kind, profile) in TOPICS.items():
                self._publishers[topic] = node.create_lifecycle_publisher(
                    kind,
                    topic,
                    profile(),
                    qos_overriding_options=OVERRIDES,
                    event_callbacks=publisher_events(node.resolve_topic_name(topic), complain),
                )
        except Exception:
            self.destroy()
            raise
        self._fixations = FixationWriter()
        self._renderer = Renderer()

    def destroy(self) -> None:
        """Take the topics down."""
        for publisher in self._publishers.values():
            self._node.destroy_lifecycle_publisher(publisher)

    def publish(self, frame: Frame, gaze: GazeFrame, header: Any, pipeline: Pipeline) -> None:
        """Send every output that has a subscriber, under the header of the frame's image."""
        settings = pipeline.settings
        topics = {
            topic for topic, publisher in self._publishers.items() if publisher.get_subscription_count()
        }
        if "~/fixations" in topics:
            self._publishers["~/fixations"].publish(self._fixations.write(gaze, header))
        if "~/mask" in topics:
            self._publishers["~/mask"].publish(mask_message(gaze, settings.mask_style, header))
        if "~/mask_image" in topics:
            self._publishers["~/mask_image"].publish(
                image_message(gaze.mask_image(settings.mask_style), "mono8", header)
            )
        wanted = Wanted(
            overlay=not topics.isdisjoint(("~/overlay", "~/overlay/compressed")),
            reconstruction="~/reconstruction" in topics,
        )
        reconstruction = self._renderer.reconstruct(frame, gaze, pipeline, wanted)
        if wanted.reconstruction:
            message = image_message(reconstruction, f"{frame.order}8", header)
            self._publishers["~/reconstruction"].publish(message)
        if not wanted.overlay:
            return
        picture = self._renderer.draw(frame, gaze, reconstruction, settings)
        if "~/overlay" in topics:
            encoding = f"{frame.order}a8" if picture.shape[2] == 4 else f"{frame.order}8"
            self._publishers["~/overlay"].publish(image_message(picture, encoding, header))
        if "~/overlay/compressed" in topics:
            message = compressed_message(picture, frame.order, settings.jpeg_quality, header)
            self._publishers["~/overlay/compressed"].publish(message)
