"""Settings: each field's type and range, and the table that is made of them."""

import math
from dataclasses import fields
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from autogaze_ros.settings import Settings, SettingsError, markdown_table, specs

ROOT = Path(__file__).parents[1]
RANGED = {name: spec for name, (_, spec) in specs().items() if spec.low is not None}
FLOATS = [name for name, (default, _) in specs().items() if type(default) is float]
INTS = [name for name, (default, _) in specs().items() if type(default) is int]
BOOLS = [name for name, (default, _) in specs().items() if type(default) is bool]
STRINGS = [name for name, (default, _) in specs().items() if type(default) is str]
CHOICES = {name: spec.choices for name, (_, spec) in specs().items() if spec.choices}


def refused(name: str, value: Any) -> None:
    """The value is refused by each way in, and the message names the setting."""
    with pytest.raises(SettingsError, match=rf"^{name} must be"):
        Settings(**{name: value})
    with pytest.raises(SettingsError, match=rf"^{name} must be"):
        Settings.from_mapping({name: value})
    with pytest.raises(SettingsError, match=rf"^{name} must be"):
        Settings().replaced({name: value})


def test_there_is_something_of_each_kind():
    assert RANGED
    assert FLOATS
    assert INTS
    assert BOOLS
    assert set(FLOATS + INTS + BOOLS + STRINGS) == {item.name for item in fields(Settings)}
    assert set(FLOATS + INTS) == set(RANGED), "every number has a range"


@pytest.mark.parametrize("name", RANGED)
def test_both_ends_of_a_range_belong_to_it_and_nothing_beyond(name: str):
    spec, kind = RANGED[name], type(specs()[name][0])
    step = 1 if kind is int else 1e-6
    others = {"working_size": 896} if name == "tile_overlap" else {}  # whose largest only fits into this
    for end, beyond in ((spec.low, spec.low - step), (spec.high, spec.high + step)):
        assert getattr(Settings(**others, **{name: kind(end)}), name) == end
        refused(name, kind(beyond))


@pytest.mark.parametrize("name", FLOATS)
def test_floats_take_whole_numbers_but_nothing_odd(name: str):
    value = getattr(Settings.from_mapping({name: int(RANGED[name].high)}), name)
    assert type(value) is float
    for odd in (math.nan, math.inf, -math.inf, True, "1.0", None, [1.0], 10**400):
        refused(name, odd)


@pytest.mark.parametrize("name", INTS)
def test_ints_take_nothing_but_ints(name: str):
    default = specs()[name][0]
    for odd in (True, float(default), math.nan, str(default), None, 10**400):
        refused(name, odd)


@pytest.mark.parametrize("name", BOOLS)
def test_bools_take_nothing_but_bools(name: str):
    assert getattr(Settings(**{name: False}), name) is False
    assert getattr(Settings(**{name: True}), name) is True
    for odd in (0, 1, 1.0, "true", None):
        refused(name, odd)


@pytest.mark.parametrize("name", STRINGS)
def test_strings_take_nothing_but_strings(name: str):
    for odd in (0, True, None, b"greedy", ["greedy"]):
        refused(name, odd)


@pytest.mark.parametrize("name", CHOICES)
def test_choices_are_exact(name: str):
    for choice in CHOICES[name]:
        assert getattr(Settings(**{name: choice}), name) == choice
    for odd in ("", CHOICES[name][0].upper(), f" {CHOICES[name][0]}", "none of them"):
        refused(name, odd)


@pytest.mark.parametrize("size", [57, 100, 225])
def test_working_size_is_a_multiple_of_28(size: int):
    refused("working_size", size)


@pytest.mark.parametrize(("size", "overlap"), [(224, 112), (56, 28), (56, 400)])
def test_tiles_overlap_by_less_than_half(size: int, overlap: int):
    assert Settings(working_size=size, tile_overlap=size // 2 - 1).tile_overlap == size // 2 - 1
    with pytest.raises(SettingsError, match="tile_overlap must be below half"):
        Settings(working_size=size, tile_overlap=overlap)


@pytest.mark.parametrize("size", [56, 224, 448, 896])
def test_layout_is_the_models_at_the_working_size(size: int):
    layout = Settings(working_size=size).layout
    assert layout.size == size
    assert layout.grids == (2, 4, 7, 14)


@pytest.mark.parametrize("values", [{"budgets": 3}, {"": 1}, {"budget": 3, "Budget": 3}, {1: 2, "a": 3}])
def test_unknown_names_are_refused_by_name(values: dict):
    stranger = next(str(name) for name in values if name != "budget")
    with pytest.raises(SettingsError, match=rf"no setting is called.*{stranger}"):
        Settings.from_mapping(values)


def test_replaced_is_a_copy_that_keeps_the_rest():
    before = Settings(budget=7, opacity=0.5)
    after = before.replaced({"opacity": 0.75})
    assert (before.budget, before.opacity) == (7, 0.5)
    assert (after.budget, after.opacity) == (7, 0.75)
    assert before.replaced({}) == before


def test_limits_are_those_of_the_settings():
    settings = Settings(budget=3, keyframe_budget=77, target_psnr=31.0, change_threshold=9.0, hysteresis=0.25)
    limits, key = settings.limits(keyframe=False), settings.limits(keyframe=True)
    assert (limits.budget, key.budget) == (3, 77)
    assert (limits.target_psnr, limits.change_threshold, limits.hysteresis) == (31.0, 9.0, 0.25)
    assert Settings(target_psnr=0.0).limits(False).target_psnr == math.inf


@pytest.mark.parametrize("keyframe", [False, True])
def test_more_quality_asks_for_more(keyframe: bool):
    steps = [Settings(quality=q / 50, hysteresis=0.25).limits(keyframe) for q in range(51)]
    for less, more in pairwise(steps):
        assert more.budget >= less.budget
        assert more.target_psnr > less.target_psnr
        assert more.loss_threshold < less.loss_threshold
        assert more.change_threshold < less.change_threshold
    assert {step.hysteresis for step in steps} == {0.25}
    assert steps[-1].budget == 265


def test_without_the_knob_the_single_settings_count():
    assert Settings(quality=-0.5, budget=3).limits(False) == Settings(budget=3).limits(False)
    assert Settings(quality=0.5, budget=3).limits(False) == Settings(quality=0.5).limits(False)


def test_table_has_a_row_for_each_setting():
    head, line, *rows = markdown_table().splitlines()
    columns = head.count("|")
    assert line == "| " + " | ".join(["---"] * (columns - 1)) + " |"
    assert all(row.count("|") == columns for row in rows), "a bar in a text breaks the table"
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    assert [row[0] for row in cells] == [f"`{item.name}`" for item in fields(Settings)]
    by_name = {row[0].strip("`"): row for row in cells}
    assert by_name["annotate"][1:3] == ["bool", "`true`"]
    assert by_name["model"][1:3] == ["string", "(empty)"]
    assert by_name["opacity"][1:5] == ["double", "`0.35`", "0 to 1", "next frame"]
    assert by_name["working_size"][1:5] == ["int", "`224`", "56 to 896", "on configure"]
    assert by_name["mask_style"][3] == "native, deduplicated, effective"
    assert all(row[-1] for row in cells), "a setting without a description"


README = ROOT / "README.md"


@pytest.mark.skipif(not README.is_file(), reason="there is no README.md yet")
def test_readme_has_this_very_table():
    text = README.read_text()
    begin, end = "<!-- parameters -->\n", "<!-- /parameters -->"
    assert text.count(begin) == text.count(end) == 1, f"README.md needs the table between {begin}and {end}"
    table = text.split(begin)[1].split(end)[0]
    assert table.strip() == markdown_table().strip(), "put the output of 'autogaze parameters' there"
