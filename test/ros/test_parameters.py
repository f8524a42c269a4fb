"""Parameters while the node runs, from files, and at start."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gaze_client import Gaze, image, pixels_of
from pictures import scene
from rcl_interfaces.srv import DescribeParameters, ListParameters

from autogaze_ros.settings import specs


def test_live_parameters_count_from_the_next_frame_on(gaze: Gaze) -> None:
    gaze.must_set(target_psnr=0.0, annotate=False, budget=7, keyframe_budget=33)
    first = gaze.ask(image(scene()))
    assert len(first["fixations"].fixations) == 33
    assert len(gaze.ask(image(scene(1)))["fixations"].fixations) == 7
    gaze.must_set(budget=3)
    answer = gaze.ask(image(scene(2)))
    assert len(answer["fixations"].fixations) == 3
    assert answer["mask"].style == "native"
    gaze.must_set(view="interframe", mask_style="effective")
    answer = gaze.ask(image(scene(3)))
    assert np.array_equal(pixels_of(answer["overlay"]), pixels_of(answer["reconstruction"]))
    assert answer["mask"].style == "effective"
    gaze.must_set(annotate=True)
    answer = gaze.ask(image(scene(4)))
    different = (pixels_of(answer["overlay"]) != pixels_of(answer["reconstruction"])).any(axis=-1)
    assert different[:60].any()
    assert not different[60:].any()  # the caption is in the upper corner
    gaze.must_set(reconstruction_fill="token")
    answer = gaze.ask(image(scene(5)))
    assert len(np.unique(pixels_of(answer["reconstruction"]) != scene(5))) == 2


def test_opacity_and_jpeg_quality(gaze: Gaze) -> None:
    gaze.must_set(annotate=False)
    seen: dict[float, np.ndarray] = {}
    for opacity in (0, 1):
        gaze.reset()
        gaze.must_set(opacity=opacity)
        seen[opacity] = np.abs(pixels_of(gaze.ask(image(scene()))["overlay"]).astype(int) - scene()).mean()
    assert seen[0] < seen[1] / 2
    sizes = []
    for quality in (5, 95):
        gaze.must_set(jpeg_quality=quality)
        sizes.append(len(gaze.ask(image(scene()))["overlay/compressed"].data))
    assert sizes[0] < sizes[1] / 2


def test_keyframe_interval(gaze: Gaze) -> None:
    gaze.must_set(keyframe_interval=3)
    answers = [gaze.ask(image(scene(index)))["fixations"] for index in range(7)]
    assert [a.keyframe for a in answers] == [True, False, False] * 2 + [True]
    assert [a.frame_index for a in answers] == list(range(7))


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("budget", 0, ["budget", "1", "265"]),
        ("budget", 266, ["budget", "1", "265"]),
        ("budget", 7.5, ["budget must be of type int, got 7.5"]),
        ("budget", "many", ["budget must be of type int, got 'many'"]),
        ("opacity", 1.01, ["opacity", "0", "1"]),
        ("opacity", math.nan, ["opacity", "0", "1", "nan"]),
        ("opacity", math.inf, ["opacity", "0", "1", "inf"]),
        ("opacity", 2, ["opacity", "0 to 1"]),
        ("opacity", True, ["opacity must be of type"]),
        ("opacity", "dim", ["opacity must be of type", "dim"]),
        ("target_psnr", math.nan, ["target_psnr", "0", "100", "nan"]),
        ("annotate", 1, ["annotate must be of type bool, got 1"]),
        ("mask_style", "round", ["mask_style must be one of native, deduplicated, effective, got 'round'"]),
        ("view", "", ["view must be one of overlay, "]),
        ("reconstruction_fill", "blank", ["reconstruction_fill must be one of source, token"]),
        ("source", "patch_diff", ["source can only change before the node is configured", "clean it up"]),
        ("working_size", 448, ["working_size can only change before"]),
        ("image_transport", "compressed", ["image_transport can only change before"]),
        ("source", "oracle", ["source must be one of greedy, patch_diff, autogaze"]),
    ],
)  # fmt: skip
def test_a_bad_value_is_refused_with_the_reason(gaze: Gaze, name: str, value: Any, words: list[str]) -> None:
    before = gaze.get(name)
    [(taken, reason)] = gaze.set(**{name: value})
    assert not taken
    assert [word for word in words if word not in reason] == []
    assert gaze.get(name) == before
    gaze.ask(image(scene()))  # and the node goes on


def test_each_parameter_of_a_call_is_judged_by_itself(gaze: Gaze) -> None:
    results = gaze.set(budget=9, opacity=7.0, keyframe_budget=50)
    assert [taken for taken, _ in results] == [True, False, True]
    assert (gaze.get("budget"), gaze.get("opacity"), gaze.get("keyframe_budget")) == (9, 0.35, 50)


def test_a_whole_number_will_do_for_a_double(gaze: Gaze) -> None:
    gaze.must_set(target_psnr=30, change_threshold=4, opacity=1)
    assert gaze.get("target_psnr") == 30
    assert gaze.ask(image(scene()))["fixations"].psnr >= 30


def test_every_setting_is_a_parameter_that_describes_itself(gaze: Gaze) -> None:
    names = list(specs())
    request = ListParameters.Request(depth=1)
    listed = gaze.call("list_parameters", request).result.names
    assert set(names) <= set(listed)
    request = DescribeParameters.Request(names=names)
    described = gaze.call("describe_parameters", request).descriptors
    for descriptor, (default, spec) in zip(described, specs().values(), strict=True):
        assert descriptor.description == spec.description
        assert all(choice in descriptor.additional_constraints for choice in spec.choices)
        ranges = [*descriptor.integer_range, *descriptor.floating_point_range]
        assert [(r.from_value, r.to_value) for r in ranges] == (
            [(spec.low, spec.high)] if spec.low is not None else []
        )
        assert gaze.get(descriptor.name) == default


def test_a_parameter_file_with_a_wildcard(start: Callable[..., Gaze], tmp_path: Path) -> None:
    file = tmp_path / "parameters.yaml"
    lines = ["source: patch_diff", "budget: 5", "change_threshold: 3", "view: interframe"]
    file.write_text("\n    ".join(["/**:\n  ros__parameters:", *lines]) + "\n")
    gaze = start(arguments=["--params-file", str(file)])
    gaze.connect("fixations")
    assert (gaze.get("budget"), gaze.get("change_threshold"), gaze.get("view")) == (5, 3, "interframe")
    answer = gaze.ask(image(scene(3)))["fixations"]
    assert answer.source == "patch_diff"
    assert 0 < len(answer.fixations) <= 5
    assert {f.grid for f in answer.fixations} == {14}


@pytest.mark.parametrize(
    ("bad", "right", "words"),
    [
        ({"opacity": 5.0}, 0.5, "opacity"),
        ({"target_psnr": math.nan}, 40.0, "target_psnr"),
        ({"budget": "twenty"}, 20, "budget"),
        ({"working_size": 100}, 224, "working_size must be a multiple of 28"),
        ({"mask_style": "round"}, "native", "mask_style must be one of native, deduplicated, effective"),
    ],
)
def test_a_bad_value_at_start_leaves_the_node_unconfigured_until_it_is_put_right(
    start: Callable[..., Gaze], bad: dict[str, Any], right: Any, words: str
) -> None:
    gaze = start(bad)
    gaze.program.wait_for_log("not configured")
    assert gaze.state() == "unconfigured"
    said = next(line for line in gaze.program.log().splitlines() if "not configured" in line)
    assert words in said
    assert not gaze.transition("configure")
    [name] = bad
    if name == "opacity":  # once is enough for these
        _, status = gaze.report(lambda _, status: status.level == status.ERROR)
        assert "opacity" in status.message
        assert not gaze.set(opacity=6.0)[0][0]
        assert not gaze.transition("configure")
    gaze.must_set(**{name: right})
    assert gaze.transition("configure")
    assert gaze.transition("activate")
    assert gaze.get(name) == right
    assert "Traceback" not in gaze.program.log()


def test_values_that_bound_each_other_are_judged_together(start: Callable[..., Gaze]) -> None:
    """tile_overlap is declared before working_size, whose default would not allow it."""
    gaze = start({"resolution": "tile_grid", "working_size": 448, "tile_overlap": 150})
    gaze.wait_for_state("active")
    assert "not configured" not in gaze.program.log()


def test_a_bad_value_does_not_accuse_others(start: Callable[..., Gaze]) -> None:
    gaze = start({"resolution": "tile_grid", "working_size": 448, "tile_overlap": 200, "mask_style": "round"})
    gaze.program.wait_for_log("not configured")
    assert "tile_overlap" not in gaze.program.log()
    gaze.must_set(mask_style="native")
    assert gaze.transition("configure")
    assert (gaze.get("working_size"), gaze.get("tile_overlap")) == (448, 200)


def test_a_value_that_another_bad_one_forbids_will_do_once_that_is_put_right(
    start: Callable[..., Gaze],
) -> None:
    gaze = start({"resolution": "tile_grid", "working_size": 450, "tile_overlap": 200})
    gaze.program.wait_for_log("not configured")
    gaze.must_set(working_size=448)
    assert gaze.transition("configure")
    assert gaze.get("tile_overlap") == 200
