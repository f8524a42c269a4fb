"""The report once a second."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from gaze_client import Gaze, image
from pictures import scene

from autogaze_ros.ros.diagnostics import DROP_CAUSES, Statistics

KEYS = {
    "rate in (Hz)",
    "rate out (Hz)",
    "frames received",
    "frames answered",
    "latency, stamp to publish p50 (ms)",
    "latency, stamp to publish p99 (ms)",
    "arrival, stamp to receipt p50 (ms)",
    "arrival, stamp to receipt p99 (ms)",
    "compute p50 (ms)",
    "compute p99 (ms)",
    *(f"dropped: {cause}" for cause in DROP_CAUSES),
    "source",
    "device",
    "enabled",
    "clock",
    "last error",
}


def test_levels_and_figures_while_waiting_working_and_broken(start: Callable[..., Gaze]) -> None:
    gaze = start()
    gaze.wait_for_state("active")
    values, status = gaze.report(lambda _, status: status.level != status.OK)
    assert status.level == status.WARN
    assert status.message.startswith("no image for")
    assert values.keys() >= KEYS

    gaze.connect("fixations")
    begin = gaze.client.node.get_clock().now().nanoseconds
    gaze.reset()
    for index in range(5):
        gaze.ask(image(scene(index)), stamp=gaze.client.node.get_clock().now().nanoseconds, frame_id="left")
    values, status = gaze.report(lambda values, _: float(values["rate out (Hz)"]) > 0)
    took = (gaze.client.node.get_clock().now().nanoseconds - begin) / 1e6
    assert status.level == status.OK
    assert status.hardware_id == "left"
    assert status.message == f"{values['rate out (Hz)']} Hz"
    assert values["source"] == "greedy"
    assert values["enabled"] == "True"
    assert values["last error"] == ""
    assert int(values["reset: request"]) >= 1
    assert 0 < float(values["compute p50 (ms)"]) <= float(values["compute p99 (ms)"]) < took
    received, answered = int(values["frames received"]), int(values["frames answered"])
    assert received - answered == sum(int(v) for k, v in values.items() if k.startswith("dropped: ")) - int(
        values["dropped: transport"]
    )

    broken = image(scene())
    broken.step = 1
    values, status = gaze.send_bad(broken)
    assert status.level == status.ERROR
    assert "step of 1 bytes" in status.message
    assert gaze.transition("deactivate")
    assert gaze.transition("activate")
    values, _ = gaze.report(lambda values, _: values["frames received"] == "0")
    assert "step of 1 bytes" in values["last error"]


def test_reports_come_once_a_second_also_while_nothing_does(gaze: Gaze) -> None:
    reports = gaze.client.diagnostics(gaze.name)
    gaze.report()
    begin = len(reports)
    gaze.client.spin(3)
    # Loose for a busy machine, tight enough to tell once a second from ten times or once in ten.
    assert 2 <= len(reports) - begin <= 5


def test_one_report_names_one_node(gaze: Gaze) -> None:
    _, status = gaze.report()
    assert status.name == f"{gaze.name}: gaze"


def test_reports_come_while_a_simulation_stands_still(start: Callable[..., Gaze]) -> None:
    """Nobody publishes /clock, as where a bag is paused."""
    gaze = start({"use_sim_time": True})
    gaze.wait_for_state("active")
    _, status = gaze.report(lambda _, status: status.message.startswith("no image for"))
    assert status.level == status.WARN


def test_no_image_is_answered_with_a_latency_while_there_is_no_time(start: Callable[..., Gaze]) -> None:
    gaze = start({"use_sim_time": True})
    gaze.connect("fixations")
    values, status = gaze.report(lambda values, _: int(values["frames answered"]) > 0)
    assert values["latency, stamp to publish p50 (ms)"] == "nan"
    assert "nobody publishes /clock" in values["clock"]
    assert "nobody publishes /clock" in status.message


SECOND = 10**9
NOW = 1_700_000_000 * SECOND


def reported(statistics: Statistics, *texts: str) -> tuple[dict[str, str], Any]:
    status = statistics.report("name", "camera", {}, *texts)
    return {pair.key: pair.value for pair in status.values}, status


@pytest.mark.parametrize(
    ("stamp", "now", "latency", "clock"),
    [
        (NOW - SECOND // 10, NOW, "100.0", "ok"),
        (NOW + SECOND // 100, NOW, "-10.0", "ok"),
        (0, NOW, "nan", "ok"),
        (NOW - 1000 * SECOND, NOW, "nan", "stamps are not of this clock"),
        (NOW, SECOND, "nan", "stamps are not of this clock"),
        (NOW, 0, "nan", "ROS time is 0"),
    ],
)
def test_latency_is_told_where_the_stamps_are_of_this_clock(
    make_gaze: Callable[..., Any], stamp: int, now: int, latency: str, clock: str
) -> None:
    statistics = Statistics()
    statistics.answer(make_gaze([1, 2]), 0.001, stamp, now, now)
    values, status = reported(statistics)
    assert values["latency, stamp to publish p50 (ms)"] == latency
    assert values["arrival, stamp to receipt p50 (ms)"] == latency
    assert values["compute p50 (ms)"] == "1.0"
    assert values["clock"].startswith(clock)
    assert status.level == (status.OK if clock == "ok" else status.WARN)
    statistics.answer(make_gaze([1, 2]), 0.001, NOW, NOW, NOW)
    assert reported(statistics)[0]["clock"] == "ok"


def test_trouble_is_an_error_for_as_long_as_it_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    statistics = Statistics("once")
    later = time.monotonic() + 3600
    monkeypatch.setattr(time, "monotonic", lambda: later)
    values, status = reported(statistics, "not active", "not configured: no model", "greedy stands in")
    assert (status.level, status.message) == (status.ERROR, "not configured: no model")
    assert values["last error"] == "once"
    _, status = reported(statistics, "", "", "greedy stands in")
    assert (status.level, status.message) == (status.WARN, "greedy stands in; no image for 3600 s")
    _, status = reported(statistics, "paused by ~/set_enabled")
    assert (status.level, status.message) == (status.OK, "paused by ~/set_enabled")
