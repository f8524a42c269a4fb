"""The report once a second."""

from __future__ import annotations

from collections.abc import Callable

from gaze_client import Gaze, image
from pictures import scene

KEYS = {
    "rate in (Hz)",
    "rate out (Hz)",
    "frames received",
    "frames published",
    "latency, stamp to publish p50 (ms)",
    "latency, stamp to publish p99 (ms)",
    "arrival, stamp to receipt p50 (ms)",
    "arrival, stamp to receipt p99 (ms)",
    "compute p50 (ms)",
    "compute p99 (ms)",
    *(f"dropped: {cause}" for cause in ("overload", "transport", "disabled", "image", "source", "publish")),
    "source",
    "device",
    "enabled",
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
    received, published = int(values["frames received"]), int(values["frames published"])
    assert received - published == sum(int(v) for k, v in values.items() if k.startswith("dropped: ")) - int(
        values["dropped: transport"]
    )

    broken = image(scene())
    broken.step = 1
    values, status = gaze.send_bad(broken)
    assert status.level == status.ERROR
    assert "step of 1 bytes" in status.message


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
