"""The lifecycle, and the services that a running node answers."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest
from gaze_client import Gaze, image, stamp_of
from pictures import scene

STATES = {
    "unconfigured": {"configure", "shutdown"},
    "inactive": {"activate", "cleanup", "shutdown"},
    "active": {"deactivate", "shutdown"},
    "finalized": set(),
}


#: What is said of a model folder that is not there.
NO_MODEL = (
    "/no/such/folder" if importlib.util.find_spec("torch") else "the source autogaze needs the package torch"
)


def check(gaze: Gaze, state: str) -> None:
    assert gaze.state() == state
    offered = gaze.call("get_available_transitions").available_transitions
    assert {t.transition.label for t in offered} == STATES[state]


def test_every_transition_twice(start: Callable[..., Gaze]) -> None:
    gaze = start({"autostart": False})
    check(gaze, "unconfigured")
    assert not gaze.reset().success  # answers, and says why not
    for _ in range(2):
        assert not gaze.transition("activate")  # not from here
        assert gaze.transition("configure")
        check(gaze, "inactive")
        for _ in range(2):
            assert not gaze.transition("configure")
            assert gaze.transition("activate")
            check(gaze, "active")
            assert not gaze.transition("cleanup")
            gaze.connect("fixations", "overlay")  # fails unless images are answered
            answered = len(gaze.messages["fixations"])
            assert gaze.transition("deactivate")
            check(gaze, "inactive")
            gaze.client.until(lambda: not gaze.publisher.get_subscription_count(), "nobody takes images")
            gaze.send(image(scene()))
            gaze.client.spin(0.5)
            assert len(gaze.messages["fixations"]) == answered
            _, status = gaze.report()
            assert (status.level, status.message) == (status.OK, "not active")
        assert gaze.transition("cleanup")
        check(gaze, "unconfigured")
        topic = f"{gaze.name}/fixations"
        gaze.client.until(lambda: not gaze.client.node.count_publishers(topic), "the topics are gone")  # noqa: B023
    assert gaze.transition("shutdown")
    check(gaze, "finalized")
    assert "Traceback" not in gaze.program.log()
    assert gaze.program.stop() == 0


@pytest.mark.parametrize("steps", [[], ["configure"], ["configure", "activate"]])
def test_shutdown_from_each_state(start: Callable[..., Gaze], steps: list[str]) -> None:
    gaze = start({"autostart": False})
    for step in steps:
        assert gaze.transition(step)
    if "activate" in steps:
        gaze.connect("fixations")
    assert gaze.transition("shutdown")
    check(gaze, "finalized")
    assert gaze.program.stop() == 0
    assert "Traceback" not in gaze.program.log()


def test_what_applies_on_configure_can_change_while_unconfigured(start: Callable[..., Gaze]) -> None:
    gaze = start()
    gaze.connect("fixations")
    assert gaze.ask(image(scene()))["fixations"].source == "greedy"
    assert not gaze.set(source="patch_diff")[0][0]
    assert gaze.transition("deactivate")
    assert not gaze.set(source="patch_diff")[0][0]
    assert gaze.transition("cleanup")
    gaze.must_set(source="patch_diff", working_size=448)
    assert gaze.transition("configure")
    assert not gaze.set(source="greedy")[0][0]
    assert gaze.transition("activate")
    gaze.connect()
    answer = gaze.ask(image(scene(1)))["fixations"]
    assert answer.source == "patch_diff"


def test_configuring_fails_with_the_reason_and_can_be_tried_again(start: Callable[..., Gaze]) -> None:
    gaze = start({"source": "autogaze", "model": "/no/such/folder", "fallback": False})
    gaze.program.wait_for_log("not configured")
    assert NO_MODEL in gaze.program.log()
    for _ in range(2):
        assert not gaze.transition("configure")
        assert gaze.state() == "unconfigured"
    _, status = gaze.report()
    assert status.level == status.ERROR
    assert NO_MODEL in status.message
    gaze.client.spin(6)  # longer than an error that has passed is told
    _, status = gaze.report()
    assert status.level == status.ERROR
    gaze.must_set(source="greedy")
    assert gaze.transition("configure")
    _, status = gaze.report()
    assert (status.level, status.message) == (status.OK, "not active")
    assert gaze.transition("activate")
    gaze.connect("fixations")


def test_a_missing_model_falls_back_to_greedy_and_says_so(start: Callable[..., Gaze]) -> None:
    gaze = start({"source": "autogaze", "model": "/no/such/folder"})
    gaze.connect("fixations")
    assert gaze.ask(image(scene()))["fixations"].source == "greedy"
    values, status = gaze.report(lambda _, status: status.level == status.WARN)
    assert "greedy" in status.message
    assert values["source"] == "greedy"
    assert NO_MODEL in values["last error"]
    assert NO_MODEL in gaze.program.log()


def test_reset_makes_the_next_image_a_keyframe(gaze: Gaze) -> None:
    answers = [gaze.ask(image(scene(index)))["fixations"] for index in range(3)]
    assert [(a.frame_index, a.keyframe) for a in answers] == [(0, True), (1, False), (2, False)]
    response = gaze.reset()
    assert response.success
    assert response.message
    answer = gaze.ask(image(scene(3)))["fixations"]
    assert (answer.frame_index, answer.keyframe, answer.update_ratio) == (0, True, 1)
    answer = gaze.ask(image(scene(4)))["fixations"]
    assert (answer.frame_index, answer.keyframe) == (1, False)


def test_a_disabled_node_drops_and_counts_and_an_enabled_one_goes_on(gaze: Gaze) -> None:
    gaze.ask(image(scene()))
    before, _ = gaze.report()
    assert gaze.set_enabled(False).success
    sent = [gaze.send(image(scene(1)))]
    values, _ = gaze.report(
        lambda values, _: int(values["dropped: disabled"]) > int(before["dropped: disabled"])
    )
    assert values["enabled"] == "False"
    gaze.report(lambda _, status: (status.level, status.message) == (status.OK, "paused by ~/set_enabled"))
    assert int(values["dropped: disabled"]) == int(before["dropped: disabled"]) + 1
    assert values["frames answered"] == before["frames answered"]
    assert gaze.set_enabled(True).success
    answer = gaze.ask(image(scene(2)))["fixations"]
    assert (answer.frame_index, answer.keyframe) == (1, False)
    assert sent[0] not in [stamp_of(m) for m in gaze.messages["fixations"]]


def hold(gaze: Gaze, file: Path) -> tuple[int, int]:
    """Send images whose work hangs; returns how often work had begun and ended before."""
    begun, ended = (gaze.program.log().count(f"work {word}") for word in ("begins", "ends"))
    assert begun == ended  # every image so far was answered
    file.touch()
    for _ in range(3):
        gaze.send(image(scene()))
    gaze.client.until(lambda: gaze.program.log().count("work begins") == begun + 1, "an image is in work")
    return begun, ended


def test_services_and_parameters_answer_while_an_image_is_in_work(held: tuple[Gaze, Path]) -> None:
    """An inference that held the executor would never end: it waits for what comes after the answers."""
    gaze, file = held
    known = len(gaze.messages["fixations"])
    _, ended = hold(gaze, file)
    gaze.must_set(budget=7)
    assert gaze.get("budget") == 7
    assert gaze.state() == "active"
    assert gaze.reset().success
    assert gaze.set_enabled(True).success
    gaze.report()
    assert gaze.program.log().count("work ends") == ended, "all that while the work went on"
    file.unlink()
    gaze.client.until(
        lambda: 0 in [message.frame_index for message in gaze.messages["fixations"][known:]],
        "the image after the reset is a keyframe",
    )


def test_a_frame_that_hangs_fails_the_deactivation_and_the_node_can_begin_anew(
    held: tuple[Gaze, Path],
) -> None:
    gaze, file = held
    _, ended = hold(gaze, file)
    assert not gaze.transition("deactivate")
    assert gaze.state() == "unconfigured"
    _, status = gaze.report()
    assert status.level == status.ERROR
    assert "has not ended within 20 s" in status.message
    file.unlink()
    gaze.client.until(lambda: gaze.program.log().count("work ends") == ended + 1, "the work ends after all")
    assert gaze.transition("configure")
    assert gaze.transition("activate")
    gaze.connect()
    assert "Traceback" not in gaze.program.log()
    assert gaze.program.stop() == 0


def test_a_frame_that_hangs_does_not_keep_the_node_from_its_shutdown(held: tuple[Gaze, Path]) -> None:
    gaze, file = held
    hold(gaze, file)
    assert gaze.transition("shutdown")
    assert gaze.state() == "finalized"
    assert "has not ended within 20 s" in gaze.program.log()
    assert gaze.program.stop() == 1  # and the process ends, though its thread does not
