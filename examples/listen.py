"""Print what a gaze_node publishes, a line a frame: how much was looked at, and the box of the surest fixation.

python examples/listen.py [NODE, /gaze_node where none is given]
"""

import contextlib
import sys

import rclpy
from autogaze_ros.msg import FixationArray
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node


class Listener(Node):
    """Subscribes to the fixations of a gaze_node."""

    def __init__(self, gaze_node: str) -> None:
        super().__init__("listener")
        self.create_subscription(FixationArray, f"{gaze_node}/fixations", self.on_fixations, 10)

    def on_fixations(self, message: FixationArray) -> None:
        """Boxes are in pixels of the image that has the same stamp."""
        stamp = message.header.stamp
        line = f"{stamp.sec}.{stamp.nanosec:09d} {message.source}: {len(message.fixations)} cells"
        if message.keyframe:
            line += ", keyframe"
        if message.fixations:
            surest = max(message.fixations, key=lambda fixation: fixation.confidence)
            box = (surest.x0, surest.y0, surest.x1, surest.y1)
            line += f", surest {box} of {message.width} x {message.height} at {surest.confidence:.2f}"
        print(f"{line}, PSNR {message.psnr:.1f} dB", flush=True)


if __name__ == "__main__":
    rclpy.init()
    with contextlib.suppress(KeyboardInterrupt, ExternalShutdownException):
        rclpy.spin(Listener(sys.argv[1] if len(sys.argv) > 1 else "/gaze_node"))
