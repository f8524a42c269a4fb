"""Every encoding and the compressed transport through the running node."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
import pytest
from camera_encodings import ENCODED, encoded, meant
from gaze_client import Gaze, image, pixels_of
from pictures import scene
from ros_client import Client
from sensor_msgs.msg import CompressedImage


def chosen(answer: dict[str, Any]) -> list[tuple[int, float]]:
    return [(f.token_id, f.confidence) for f in answer["fixations"].fixations]


@pytest.mark.parametrize("padding", [0, 13])
@pytest.mark.parametrize("name", ENCODED)
def test_an_encoding_is_gazed_at_like_the_same_pixels_in_rgb8(gaze: Gaze, name: str, padding: int) -> None:
    gaze.must_set(target_psnr=0)  # spends the whole budget
    answer = gaze.ask(encoded(name, scene(), padding))
    assert answer["fixations"].keyframe
    assert answer["reconstruction"].encoding == ("bgr8" if name == "bgr8" else "rgb8")
    pixels = pixels_of(answer["reconstruction"])  # of a keyframe: the image as the node sees it
    expected, tolerance = meant(name, scene())
    assert np.abs(pixels.astype(int) - expected).mean() <= tolerance
    gaze.reset()
    plain = gaze.ask(image(np.ascontiguousarray(pixels)))
    assert len(chosen(plain)) > 20
    assert chosen(answer) == chosen(plain)


@pytest.fixture(scope="module")
def compressed_gaze(client: Client) -> Iterator[Gaze]:
    """A node on the compressed transport; remapping the base topic moves the compressed one along."""
    gaze = Gaze(
        client,
        {"image_transport": "compressed"},
        arguments=["-r", "image:=camera/front"],
        topic="camera/front/compressed",
        kind=CompressedImage,
    )
    try:
        gaze.connect("fixations", "reconstruction")
        yield gaze
    finally:
        gaze.close()


def packed(picture: np.ndarray, kind: str) -> CompressedImage:
    data = cv2.imencode(kind, np.ascontiguousarray(picture[..., ::-1]))[1]
    return CompressedImage(format=f"rgb8; {kind[1:]} compressed bgr8", data=data.tobytes())


@pytest.mark.parametrize("kind", [".jpg", ".png"])
def test_compressed_images_are_gazed_at_like_their_pixels(
    compressed_gaze: Gaze, gaze: Gaze, kind: str
) -> None:
    message = packed(scene(), kind)
    compressed_gaze.reset()
    answer = compressed_gaze.ask(message, frame_id="front")
    assert answer["fixations"].header.frame_id == "front"
    pixels = pixels_of(answer["reconstruction"])
    decoded = cv2.imdecode(np.frombuffer(message.data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    assert np.array_equal(pixels, decoded)
    if kind == ".png":
        assert np.array_equal(pixels, scene())
    assert chosen(answer) == chosen(gaze.ask(image(np.ascontiguousarray(pixels))))


def test_damaged_compressed_images_are_dropped_and_reported(compressed_gaze: Gaze) -> None:
    jpeg, png = (packed(scene(), kind) for kind in (".jpg", ".png"))
    compressed_gaze.ask(jpeg)
    cut = [m.data.tobytes()[: len(m.data) * 2 // 3] for m in (png, jpeg)]
    neither, damaged = "neither JPEG nor PNG", "is cut off or damaged"
    for data, words in ((b"", neither), (b"\x17" * 3000, neither), (cut[0], damaged), (cut[1], damaged)):
        values, status = compressed_gaze.send_bad(CompressedImage(format="jpeg", data=data))
        assert status.level == status.ERROR
        assert words in status.message
        assert values["last error"] == status.message
    assert not compressed_gaze.ask(jpeg)["fixations"].keyframe  # it goes on where it was


def test_a_remapped_compressed_topic_is_taken_as_it_is(start: Callable[..., Gaze]) -> None:
    gaze = start(
        {"image_transport": "compressed"},
        arguments=["-r", "image:=elsewhere", "-r", "image/compressed:=cam/jpeg"],
        topic="cam/jpeg",
        kind=CompressedImage,
    )
    gaze.program.wait_for_log(f"gazing at {gaze.namespace}/cam/jpeg")
    gaze.connect("fixations")  # which sends and gets answers
