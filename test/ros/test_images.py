"""Image messages to frames, without a node."""

from __future__ import annotations

import array
import importlib.util
import struct
import zlib
from typing import Any, ClassVar

import cv2
import numpy as np
import pytest
from camera_encodings import ENCODED, encoded, meant
from pictures import scene
from sensor_msgs.msg import CompressedImage, Image

from autogaze_ros import images
from autogaze_ros.ros.images import (
    ImageError,
    compressed_message,
    frame_from_compressed,
    frame_from_image,
    image_message,
)


@pytest.mark.parametrize("padding", [0, 13])
@pytest.mark.parametrize("name", ENCODED)
def test_each_encoding_shows_the_picture(name: str, padding: int) -> None:
    expected, tolerance = meant(name, scene())
    frame = frame_from_image(encoded(name, scene(), padding))
    assert frame.encoding == ENCODED[name][0]
    assert np.abs(frame.rgb().astype(int) - expected).mean() <= tolerance


@pytest.mark.parametrize("name", [n for n in ENCODED if "bayer" in n or "yuv" in n or "nv" in n])
def test_flat_colours_keep_their_hue(name: str) -> None:
    flat = np.broadcast_to(np.array([210, 90, 40], np.uint8), (12, 16, 3))
    assert np.abs(frame_from_image(encoded(name, flat)).rgb().astype(int) - flat).max() <= 2


@pytest.mark.parametrize("padding", [0, 5])
@pytest.mark.parametrize("encoding", ["rgb8", "bgr8"])
def test_rgb8_and_bgr8_are_not_copied(encoding: str, padding: int) -> None:
    message = encoded(encoding, scene(), padding)
    frame = frame_from_image(message)
    assert np.shares_memory(frame.pixels, np.frombuffer(message.data, np.uint8))
    assert frame.order == encoding[:3]


class Received:
    """An image message whose bytes can't be written to, as rosbags hands them out."""

    def __init__(self, message: Image) -> None:
        for name in ("header", "height", "width", "encoding", "is_bigendian", "step"):
            setattr(self, name, getattr(message, name))
        self.data = np.frombuffer(message.data.tobytes(), np.uint8)


@pytest.mark.parametrize("name", ENCODED)
def test_data_that_is_read_only_will_do(name: str) -> None:
    message = encoded(name, scene(), 3)
    frame = frame_from_image(Received(message))  # type: ignore[arg-type]
    assert np.array_equal(frame.pixels, frame_from_image(message).pixels)
    assert frame.working(224).shape == (224, 224, 3)


def test_the_last_row_needs_no_padding() -> None:
    message = encoded("rgb8", scene(), 7)
    message.data = message.data[:-7]
    assert np.array_equal(frame_from_image(message).pixels, scene())


def test_white_stays_white_at_16_bits() -> None:
    white = Image(height=2, width=2, encoding="mono16", step=4, data=b"\xff" * 8)
    assert (frame_from_image(white).pixels == 255).all()


@pytest.mark.parametrize(
    ("change", "cause", "words"),
    [
        ({"width": 0}, "size", "0 x 240"),
        ({"height": 0}, "size", "320 x 0"),
        ({"step": 959}, "step", "959 bytes is less than a row of 960"),
        ({"step": 0}, "step", "step of 0"),
        ({"height": 241}, "short", "needs 231360 bytes, got 230400"),
        ({"data": b""}, "short", "got 0"),
        ({"height": 2**32 - 1, "width": 2**28, "step": 2**32 - 1}, "short", "needs"),
        ({"encoding": "rgb9"}, "encoding", "'rgb9' is not known"),
        ({"encoding": ""}, "encoding", "'' is not known"),
        ({"encoding": "yuv422", "width": 319}, "size", "even width"),
        ({"encoding": "nv12", "height": 239}, "size", "even width and height"),
    ],
)
def test_what_is_wrong_is_named(change: dict[str, object], cause: str, words: str) -> None:
    message = encoded("rgb8", scene())
    for name, value in change.items():
        setattr(message, name, value)
    with pytest.raises(ImageError, match=words) as caught:
        frame_from_image(message)
    assert caught.value.cause == cause


def test_cv_bridge_gives_the_same_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec("cv_bridge") is None:
        pytest.skip("cv_bridge is not installed; it comes with ROS only")
    if images.find_cv_bridge() is None:
        pytest.skip("cv_bridge is installed but does not work with this NumPy")
    messages = [encoded(name, scene(), padding) for name in ENCODED for padding in (0, 13)]
    through_bridge = [frame_from_image(message).rgb().copy() for message in messages]
    monkeypatch.setattr(images, "find_cv_bridge", lambda: None)
    for message, pixels in zip(messages, through_bridge, strict=True):
        assert np.array_equal(frame_from_image(message).rgb(), pixels), message.encoding


class PickyBridge:
    """Reads messages as cv_bridge does, with its faults; it knows rgb16 besides, and converts by OpenCV."""

    KINDS: ClassVar[dict[str, tuple[str, int, int | None]]] = {
        "rgba8": ("uint8", 4, cv2.COLOR_RGBA2RGB),
        "mono8": ("uint8", 1, cv2.COLOR_GRAY2RGB),
        "mono16": ("uint16", 1, cv2.COLOR_GRAY2RGB),
        "rgb16": ("uint16", 3, None),
    }

    def encoding_to_dtype_with_channels(self, encoding: str) -> tuple[str, int]:
        return self.KINDS[encoding][:2]

    def imgmsg_to_cv2(self, message: Any, wanted: str) -> np.ndarray:
        assert wanted == "rgb8"
        kind, channels, conversion = self.KINDS[message.encoding]
        dtype = np.dtype(kind)
        if message.is_bigendian:
            raise AttributeError("`newbyteorder` was removed from the ndarray class in NumPy 2.0")
        shape = (message.height, int(message.step / dtype.itemsize / channels), channels)
        pixels = np.ascontiguousarray(np.ndarray(shape, dtype, message.data)[:, : message.width])
        if dtype.itemsize == 2:
            pixels = cv2.convertScaleAbs(pixels, alpha=255 / 65535)
        return pixels if conversion is None else cv2.cvtColor(pixels, conversion)


@pytest.fixture
def bridge(monkeypatch: pytest.MonkeyPatch) -> PickyBridge:
    made = PickyBridge()
    monkeypatch.setattr(images, "find_cv_bridge", lambda: made)
    return made


def rgb16(padding: int, big: bool) -> Image:
    rows = (scene().astype(np.uint16) * 257).astype(">u2" if big else "<u2").view(np.uint8)
    rows = np.hstack([rows.reshape(240, -1), np.full((240, padding), 0xA5, np.uint8)])
    return Image(
        height=240,
        width=320,
        encoding="rgb16",
        is_bigendian=int(big),
        step=rows.shape[1],
        data=rows.tobytes(),
    )


@pytest.mark.parametrize("last_row_padded", [True, False])
@pytest.mark.parametrize("padding", [0, 2, 13])
@pytest.mark.parametrize("name", ["rgba8", "mono8", "mono16, little-endian", "mono16, big-endian", "rgb16"])
def test_cv_bridge_is_not_given_what_it_misreads(
    bridge: PickyBridge, name: str, padding: int, last_row_padded: bool
) -> None:
    message = rgb16(padding, False) if name == "rgb16" else encoded(name, scene(), padding)
    if padding and not last_row_padded:
        message.data = message.data[:-padding]
    expected = scene() if name == "rgb16" else meant(name, scene())[0]
    assert np.array_equal(frame_from_image(message).rgb(), expected)


@pytest.mark.parametrize("padding", [0, 7])
def test_swapped_bytes_of_an_encoding_that_only_cv_bridge_knows(bridge: PickyBridge, padding: int) -> None:
    assert np.array_equal(frame_from_image(rgb16(padding, True)).rgb(), scene())


def test_single_bytes_that_are_called_big_endian(bridge: PickyBridge) -> None:
    message = encoded("rgba8", scene())
    message.is_bigendian = 1
    assert np.array_equal(frame_from_image(message).rgb(), scene())


def test_what_cv_bridge_does_not_know_or_is_cut_off_is_named(bridge: PickyBridge) -> None:
    message = rgb16(0, False)
    message.data = message.data[:-1]
    with pytest.raises(ImageError, match="rgb16 image needs 460800 bytes, got 460799"):
        frame_from_image(message)
    message.encoding = "rgb9"
    with pytest.raises(ImageError, match="'rgb9' is not known to cv_bridge"):
        frame_from_image(message)


def compressed(data: bytes, kind: str = "rgb8; jpeg compressed bgr8") -> CompressedImage:
    return CompressedImage(format=kind, data=array.array("B", data))


def jpeg(picture: np.ndarray) -> bytes:
    return cv2.imencode(".jpg", picture[..., ::-1])[1].tobytes()


def png(picture: np.ndarray) -> bytes:
    return cv2.imencode(".png", picture[..., ::-1])[1].tobytes()


def test_png_is_exact_and_jpeg_near() -> None:
    assert np.array_equal(frame_from_compressed(compressed(png(scene()), "png")).rgb(), scene())
    decoded = frame_from_compressed(compressed(jpeg(scene()))).rgb()
    assert decoded.shape == (240, 320, 3)
    assert np.abs(decoded.astype(int) - scene()).mean() < 3


def test_grey_and_16_bit_files_become_colour() -> None:
    grey = scene()[..., 0]
    for data in (cv2.imencode(".jpg", grey)[1], cv2.imencode(".png", grey.astype(np.uint16) * 257)[1]):
        pixels = frame_from_compressed(compressed(data.tobytes())).pixels
        assert np.abs(pixels.astype(int) - grey[..., None]).mean() < 3


def test_an_exif_tag_does_not_turn_the_picture() -> None:
    tags = b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHIHH", 0x112, 3, 1, 6, 0) + b"\0\0\0\0"
    exif = b"\xff\xe1" + struct.pack(">H", len(tags) + 8) + b"Exif\0\0" + tags
    data = jpeg(scene())
    assert frame_from_compressed(compressed(data[:2] + exif + data[2:])).pixels.shape == (240, 320, 3)


def test_what_is_behind_an_images_end_does_not_matter() -> None:
    trailer = np.random.default_rng(0).integers(0, 256, 2**20, np.uint8).tobytes()
    progressive = cv2.imencode(".jpg", scene(), [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    for data in (jpeg(scene()), progressive, png(scene())):
        frame = frame_from_compressed(compressed(data))
        assert np.array_equal(frame_from_compressed(compressed(data + trailer)).pixels, frame.pixels)
        with pytest.raises(ImageError):
            frame_from_compressed(compressed(data[: len(data) * 9 // 10]))


def test_a_thumbnails_end_is_not_the_images() -> None:
    whole, thumbnail = jpeg(scene()), jpeg(scene(1, 64, 48))
    exif = b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail
    frame_from_compressed(compressed(whole[:2] + exif + whole[2:]))
    with pytest.raises(ImageError):
        frame_from_compressed(compressed(whole[:2] + exif + whole[2:-2]))


def huge_png() -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 2**21, 2**21, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 100,
        b"\xff\xd8",
        jpeg(scene())[:-2],
        jpeg(scene())[: len(jpeg(scene())) // 2],
        png(scene())[:-20],
        png(scene())[: len(png(scene())) // 2],
        b"\xff\xd8" + bytes(200) + b"\xff\xd9",
        b"\x89PNG\r\n\x1a\n" + bytes(200) + b"IEND",
        huge_png(),
        b"GIF89a" + bytes(64),
    ],
    ids=[
        "empty", "zeros", "head only", "jpeg without its end", "half a jpeg", "png without its end",
        "half a png", "garbage as jpeg", "garbage as png", "png of millions of pixels a side", "gif",
    ],
)  # fmt: skip
def test_data_that_can_not_be_decoded_is_refused(data: bytes) -> None:
    with pytest.raises(ImageError) as caught:
        frame_from_compressed(compressed(data))
    assert caught.value.cause == "undecodable"


def test_messages_made_of_pictures() -> None:
    header = encoded("rgb8", scene()).header
    header.frame_id = "here"
    strided = scene()[:, ::2]
    message = image_message(strided, "rgb8", header)
    assert (message.width, message.height, message.step) == (160, 240, 480)
    assert message.header.frame_id == "here"
    assert message.data.tobytes() == strided.tobytes()
    for order, picture in (("rgb", scene()), ("bgr", scene()[..., ::-1])):
        sent = compressed_message(np.ascontiguousarray(picture), order, 90, header)
        assert np.abs(frame_from_compressed(sent).rgb().astype(int) - scene()).mean() < 3
