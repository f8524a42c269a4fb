"""autogaze_camera: plays a clip, a bag or a webcam as a camera driver would."""

from __future__ import annotations

# isort: off
import autogaze_ros._process  # noqa: F401  (before NumPy)
# isort: on

import itertools
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import rclpy
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.node import Node
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from ..images import ImageError
from ..replay.clips import ClipError, DrawnClip, Video
from .images import compressed_message, image_message
from .stopping import StopSignals

#: Makes a message under a header.
Maker = Callable[[Header], Any]

_PARAMETERS: dict[str, tuple[Any, str]] = {
    "video": ("", "Video file to play."),
    "bag": ("", "Bag folder whose images to play."),
    "bag_topic": ("", "Image topic in the bag; its first one where empty."),
    "webcam": (-1, "Number of a local camera to read; -1 for none."),
    "width": (640, "Width of the drawn clip, which plays where nothing else is named."),
    "height": (480, "Height of the drawn clip."),
    "frames": (300, "Length of the drawn clip."),
    "rate": (0.0, "Frames a second; 0 for the clip's own."),
    "loop": (False, "Start again at the end."),
    "frame_id": ("camera", "frame_id of the images."),
    "compressed": (False, "Send JPEG on image/compressed instead of rgb8 on image."),
    "preload": (0, "Draw or decode so many pictures first and then play them over and over; 0 for none."),
    "limit": (0, "Stop after so many images; 0 plays to the end."),
    "wait_for_subscribers": (0, "Begin once so many listen."),
}


class Camera(Node):
    """Publishes pictures at their rate with the present time as stamp.

    Args:
        stop: ends the play.
    """

    def __init__(self, stop: StopSignals, **options: Any) -> None:
        super().__init__("camera", **options)
        self._stop = stop
        # Dynamic typing leaves the check of types to _check, which says in words what is wrong.
        self.values = {
            name: self.declare_parameter(
                name, default, ParameterDescriptor(description=text, dynamic_typing=True)
            ).value
            for name, (default, text) in _PARAMETERS.items()
        }
        # Reliable, as most drivers are: then best-effort and reliable subscribers both match.
        profile = QoSProfile(depth=1, reliability=QoSReliabilityPolicy.RELIABLE)
        self._raw = self.create_publisher(Image, "image", profile)
        self._compressed = self.create_publisher(
            CompressedImage, f"{self.resolve_topic_name('image')}/compressed", profile
        )
        self.sent = 0
        self._first = self._last = 0.0

    @property
    def seconds(self) -> float:
        """From the first image to the last one."""
        return self._last - self._first

    def play(self) -> None:
        """Publish the whole clip; returns at its end.

        Raises:
            ClipError: it can't be read, or the parameters contradict each other.
        """
        self._check()
        while self._listeners() < self.values["wait_for_subscribers"] and not self._stop.came:
            self.wait(0.1)
        begin, first = time.monotonic(), None
        for due, make in self._schedule():
            if first is None:
                self.get_logger().info(f"sending on {self.resolve_topic_name('image')}")
                begin, first = time.monotonic(), due
            self.wait(begin + due - first - time.monotonic())
            if self._stop.came:
                return
            header = Header(frame_id=self.values["frame_id"], stamp=self.get_clock().now().to_msg())
            message = make(header)
            (self._raw if isinstance(message, Image) else self._compressed).publish(message)
            self._last = time.monotonic()
            self._first = self._first or self._last
            self.sent += 1
            if self.sent == self.values["limit"]:
                return

    def wait(self, seconds: float) -> None:
        """Answer to ROS for so long, or until told to stop."""
        end = time.monotonic() + seconds
        while (ahead := end - time.monotonic()) > 0 and not self._stop.came:
            rclpy.spin_once(self, timeout_sec=min(ahead, self._stop.PATIENCE))

    def _check(self) -> None:
        values = self.values
        for name, (default, _) in _PARAMETERS.items():
            values[name] = _typed(name, values[name], default)
        given = [name for name in ("video", "bag") if values[name]] + ["webcam"] * (values["webcam"] >= 0)
        if len(given) > 1:
            raise ClipError(f"{' and '.join(given)} can't be played at once: name one of them")
        if values["bag_topic"] and not values["bag"]:
            raise ClipError("bag_topic is given without a bag")
        odd = [name for name in ("rate", "compressed") if values[name]] if values["bag"] else []
        if odd:
            raise ClipError(f"{' and '.join(odd)} can't be chosen for a bag, which plays as it was recorded")
        if values["preload"] > 0 and values["webcam"] >= 0:
            raise ClipError("preload can't be had of a webcam, which has no end")
        if not 0 <= values["rate"] < math.inf:
            raise ClipError(f"rate must be 0 or more images a second, got {values['rate']}")

    def _listeners(self) -> int:
        return int(max(self._raw.get_subscription_count(), self._compressed.get_subscription_count()))

    def _schedule(self) -> Iterator[tuple[float, Maker]]:
        """When each picture is due, in seconds, and what makes its message."""
        values, start = self.values, 0.0
        loaded = list(itertools.islice(self._once(), values["preload"])) if values["preload"] > 0 else None
        while True:
            count, due, gap = 0, 0.0, 0.0
            for next_due, make in loaded or self._once():
                count, gap, due = count + 1, next_due - due, next_due
                yield start + due, make
            if not (values["loop"] or loaded) or not count:
                return
            # One picture alone says nothing of its rate.
            start += due + (gap or 1 / (values["rate"] or 30.0))

    def _once(self) -> Iterator[tuple[float, Maker]]:
        values = self.values
        if values["bag"]:
            yield from self._bag(Path(values["bag"]), values["bag_topic"])
            return
        if values["webcam"] >= 0:
            yield from (
                (0.0, _picture(picture, "bgr", values["compressed"])) for picture in _webcam(values["webcam"])
            )
            return
        clip = (
            Video(Path(values["video"]))
            if values["video"]
            else DrawnClip(values["width"], values["height"], values["frames"])
        )
        rate = values["rate"] or clip.rate
        for index, picture in enumerate(clip):
            yield index / rate, _picture(picture, "rgb", values["compressed"])

    def _bag(self, path: Path, topic: str) -> Iterator[tuple[float, Maker]]:
        """The images of a bag's topic, the first one by name where empty."""
        from ..replay.bag import BagInput  # needs rosbags, which ROS does not bring

        with BagInput(path) as bag:
            topic = bag.choose([topic] if topic else [])[0]
            for problem in bag.problems:
                self.get_logger().warning(f"{path}: {problem.text}")
            first = None
            for image in bag.recorded([topic]):
                first = image.log_time if first is None else first
                try:
                    yield (image.log_time - first) / 1e9, _republish(image.kind, image.message())
                except ImageError as error:
                    self.get_logger().warning(f"{path}: image {image.index} of {topic}: {error}")


def _typed(name: str, value: Any, default: Any) -> Any:
    """A parameter's value as its default's type; a whole number stands for a double.

    Raises:
        ClipError: it is of another type.
    """
    if type(default) is float and type(value) is int:
        return float(value)
    if type(value) is not type(default):
        words = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
        raise ClipError(f"{name} must be {words[type(default)]}, got {value!r}")
    return value


def _picture(picture: Any, order: Any, compressed: bool) -> Maker:
    if compressed:
        return lambda header: compressed_message(picture, order, 90, header)
    return lambda header: image_message(picture, f"{order}8", header)


def _republish(kind: str, message: Any) -> Maker:
    import array

    data = array.array("B")
    data.frombytes(memoryview(message.data))
    if kind.endswith("CompressedImage"):
        return lambda header: CompressedImage(header=header, format=message.format, data=data)
    return lambda header: Image(
        header=header,
        height=message.height,
        width=message.width,
        encoding=message.encoding,
        is_bigendian=message.is_bigendian,
        step=message.step,
        data=data,
    )


def _webcam(number: int) -> Iterator[Any]:
    capture = cv2.VideoCapture(number)
    if not capture.isOpened():
        raise ClipError(f"camera {number} can't be opened; see which there are with: ls /dev/video*")
    try:
        while True:
            good, picture = capture.read()
            if not good:
                raise ClipError(f"camera {number} stopped sending")
            yield picture
    finally:
        capture.release()


def main(args: list[str] | None = None) -> None:
    """Play once, or until told to stop; prints how many images were sent."""
    stop = StopSignals()
    stop.init(args)
    camera, failed = None, False
    try:
        camera = Camera(stop)
        camera.play()
        # Reliable delivery goes on after publish returns: give the last images time to arrive.
        camera.wait(0.5)
    except ClipError as error:
        if camera is not None:
            camera.get_logger().error(str(error))
        failed = True
    finally:
        if camera is not None:
            print(f"sent {camera.sent}\nin {camera.seconds:.6f} s", flush=True)
        stop.shutdown(camera)
    if failed:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
