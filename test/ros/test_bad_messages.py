"""What the node does about messages that it can't use, or that don't fit those before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from gaze_client import Gaze, image, stamp_of
from pictures import scene
from sensor_msgs.msg import Image


def bad(**changes: Any) -> Any:
    message = image(scene())
    for name, value in changes.items():
        setattr(message, name, value)
    return message


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"width": 0, "height": 0}, "image of 0 x 0 pixels: the camera driver must fill width and height"),
        ({"data": b"\0" * 1000}, "needs 230400 bytes, got 1000; the driver or a relay cut it off"),
        ({"data": b""}, "needs 230400 bytes, got 0"),
        ({"step": 320}, "step of 320 bytes is less than a row of 960; the camera driver must set step"),
        ({"encoding": "32FC1"}, "encoding '32FC1' is not known; make the camera driver or image_proc send"),
    ],
)
def test_an_image_that_can_not_be_used_is_named_and_the_next_one_answered(
    gaze: Gaze, changes: dict[str, Any], words: str
) -> None:
    gaze.ask(image(scene()))
    said = gaze.program.log().count(words)
    values, status = gaze.send_bad(bad(**changes))
    assert status.level == status.ERROR
    assert words in status.message
    assert words in values["last error"]
    assert gaze.program.log().count(words) <= said + 1
    answer = gaze.ask(image(scene(1)))["fixations"]
    assert (answer.frame_index, answer.keyframe) == (1, False)  # the stream goes on as if nothing had been


def test_the_log_says_an_error_once_and_stamp_zero_has_no_latency(start: Callable[..., Gaze]) -> None:
    gaze = start()
    gaze.listen("fixations", "overlay")
    gaze.client.until(lambda: [gaze.send(image(scene()), stamp=0), gaze.messages["overlay"]][1], "an answer")
    assert stamp_of(gaze.messages["fixations"][-1]) == stamp_of(gaze.messages["overlay"][-1]) == 0
    values, _ = gaze.report(lambda values, _: int(values["frames answered"]) > 0)
    assert values["latency, stamp to publish p99 (ms)"] == "nan"  # not the time since 1970
    assert float(values["compute p50 (ms)"]) > 0
    for count in (1, 2, 3):
        values, _ = gaze.send_bad(bad(step=1))
        assert int(values["dropped: image"]) == count
    assert gaze.program.log().count("step of 1 bytes is less than a row of 960") == 1


def test_a_stream_that_breaks_starts_afresh_once(gaze: Gaze) -> None:
    hour = 3_600_000_000_000
    first = gaze.next_stamp()
    breaks: dict[str, tuple[int, Callable[[int], Image]]] = {
        "gap": (first + hour, lambda index: image(scene(index))),
        "stamp": (first, lambda index: image(scene(index))),
        "size": (first + 100_000_000, lambda index: image(scene(index, 160, 120))),
        "encoding": (first + 200_000_000, lambda index: image(scene(index, 160, 120)[..., ::-1], "bgr8")),
        "cut": (first + 300_000_000, lambda index: image(255 - scene(index, 160, 120)[..., ::-1], "bgr8")),
    }
    before, _ = gaze.report()
    gaze.ask(image(scene()), stamp=first)
    assert gaze.ask(image(scene(1)), stamp=first + 33_000_000)["fixations"].frame_index == 1
    for cause, (stamp, picture) in breaks.items():
        broken = gaze.ask(picture(2), stamp=stamp)["fixations"]
        assert (broken.keyframe, broken.frame_index) == (True, 0), cause
        after = gaze.ask(picture(3), stamp=stamp + 33_000_000)["fixations"]
        assert (after.keyframe, after.frame_index) == (False, 1), cause
    values, _ = gaze.report()
    for cause in breaks:
        key = f"reset: {cause}"
        assert int(values[key]) == int(before.get(key, 0)) + 1


def test_a_stamp_that_goes_back_is_said_in_the_log(gaze: Gaze) -> None:
    gaze.ask(image(scene()))
    gaze.ask(image(scene()), stamp=1_000_000_000)
    gaze.program.wait_for_log("started afresh: a stamp went back")


@pytest.mark.parametrize("size", [(1, 1), (2, 1), (1, 300), (4096, 3)])
def test_the_oddest_sizes_are_answered(gaze: Gaze, size: tuple[int, int]) -> None:
    width, height = size
    pixels = scene(0, 4096, 304)[:height, :width]
    answer = gaze.ask(image(pixels))
    assert (answer["fixations"].width, answer["fixations"].height) == size
    for f in answer["fixations"].fixations:
        assert 0 <= f.x0 < f.x1 <= width
        assert 0 <= f.y0 < f.y1 <= height
