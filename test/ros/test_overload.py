"""More images than the node can bear: the newest wins, latency stays bounded, and every drop is counted."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

from gaze_client import Gaze, Values, image, stamp_of
from pictures import scene

from autogaze_ros.ros.diagnostics import DROP_CAUSES

#: So much work a frame that images can be sent faster than they are answered.
SLOW = {"working_size": 672, "target_psnr": 0.0, "budget": 265, "keyframe_budget": 265, "cut_threshold": 0.0}
#: Drops of images that the node had received.
DROPS = [f"dropped: {cause}" for cause in DROP_CAUSES if cause != "transport"]


def settled(values: Values) -> bool:
    return int(values["frames received"]) == int(values["frames answered"]) + sum(
        int(values[d]) for d in DROPS
    )


def grown(before: Values, after: Values) -> dict[str, int]:
    """By how much each count has grown."""
    return {key: int(after[key]) - int(before[key]) for key in after if key.startswith(("frames", "dropped"))}


def test_a_flood_is_thinned_to_the_newest_images_and_each_is_counted(start: Callable[..., Gaze]) -> None:
    gaze = start(SLOW)
    gaze.connect("fixations", "overlay")
    # Small enough to reach the node whole, best-effort as they are: its work is the bottleneck here.
    pictures = [image(scene(index)) for index in range(3)]
    gaze.ask(pictures[0], stamp=time.time_ns())
    before, _ = gaze.report(lambda values, _: settled(values))
    answered = len(gaze.messages["fixations"])

    sent = []
    end = time.monotonic() + 3
    while time.monotonic() < end:
        sent.append(gaze.send(pictures[len(sent) % 3], stamp=time.time_ns()))
        gaze.client.spin(0.005)
    gaze.report(lambda values, _: settled(values) and values["rate in (Hz)"] == "0.0")
    # What the middleware loses shows as a gap before the next image that it delivers: this one.
    gaze.ask(pictures[0], stamp=time.time_ns())
    sent.append(stamp_of(gaze.messages["fixations"][-1]))
    after, _ = gaze.report(lambda values, _: settled(values))

    gained = grown(before, after)
    assert gained["frames received"] + gained["dropped: transport"] == len(sent)
    assert gained["frames received"] == gained["frames answered"] + gained["dropped: overload"]
    assert gained["dropped: overload"] > 0, gained
    stamps = [stamp_of(message) for message in gaze.messages["fixations"][answered:]]
    assert len(stamps) == gained["frames answered"]
    assert stamps == sorted(set(stamps))
    assert set(stamps) <= set(sent)
    # In a queue, the last ones would have waited for all before them.
    queue = gained["frames received"] * float(after["compute p50 (ms)"])
    assert float(after["latency, stamp to publish p99 (ms)"]) < queue / 2


def test_images_that_the_middleware_drops_are_counted(start: Callable[..., Gaze]) -> None:
    gaze = start()
    gaze.connect("fixations")
    before, _ = gaze.report(lambda values, _: settled(values))
    # While the process stands still, images come in and only the newest is kept.
    gaze.program.process.send_signal(signal.SIGSTOP)
    for _ in range(20):
        gaze.send(gaze.picture())
    gaze.program.process.send_signal(signal.SIGCONT)
    gaze.report(lambda values, _: settled(values) and values["rate in (Hz)"] == "0.0")
    gaze.ask(gaze.picture())
    after, _ = gaze.report(lambda values, _: settled(values))
    gained = grown(before, after)
    assert gained["dropped: transport"] > 0
    gaze.program.wait_for_log("images are lost on their way")
    assert gained["dropped: transport"] + gained["frames received"] == 21
