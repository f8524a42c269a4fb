"""The greedy source against a choice that counts every error anew, and what it promises on pictures."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from autogaze_ros.gaze import Frame, TokenLayout, TokenReceiver
from autogaze_ros.gaze.sources import GreedySource, Limits
from autogaze_ros.gaze.sources.greedy import choose

SMALL = [TokenLayout((2, 4), 4), TokenLayout((1, 2, 4), 4), TokenLayout((2, 3, 6), 2), TokenLayout((3,), 4)]
seeds = st.integers(0, 2**32 - 1)
Errors = NDArray[np.float64]


def shown(layout: TokenLayout, base: Errors, scale_errors: Errors, tokens) -> Errors:
    """The error map with tokens lying over the base, finest on top."""
    errors = base.copy()
    for token in sorted(tokens):
        scale, grid, row, col = layout.table[token].tolist()
        block = len(base) // grid
        cell = slice(row * block, (row + 1) * block), slice(col * block, (col + 1) * block)
        errors[cell] = scale_errors[scale][cell]
    return errors


def choose_slowly(layout: TokenLayout, base: Errors, scale_errors: Errors, budget: int, enough: float):
    """What the greedy source is to choose, with all errors summed up again for every question."""

    def total(tokens) -> float:
        return shown(layout, base, scale_errors, tokens).sum()

    def least_missed(tokens: list[int]) -> tuple[float, int]:
        return min((total([t for t in tokens if t != token]) - total(tokens), token) for token in tokens)

    chosen: list[int] = []
    size = 0
    while total(chosen) > enough or (chosen and least_missed(chosen)[0] <= 0):
        falls = [total(chosen) - total([*chosen, token]) for token in range(layout.count)]
        best = int(np.argmax(falls))
        if falls[best] <= 0:
            break
        chosen.append(best)
        if len(chosen) > size:
            rise, least = least_missed(chosen)
            if rise < falls[best]:  # the newest would be missed as much as it helped
                chosen.remove(least)
            elif size < budget:
                size += 1
            else:
                chosen.remove(best)
                break
    while chosen and least_missed(chosen)[0] <= 0:
        chosen.remove(least_missed(chosen)[1])
    return chosen


def random_errors(layout: TokenLayout, rng: np.random.Generator) -> tuple[Errors, Errors]:
    """Error maps with ties, with coarse scales that are better than fine ones, and with nothing to gain."""
    side = math.lcm(*layout.grids)
    values = [np.arange(30), np.array([0, 1, 5, 50]), np.array([3])][rng.integers(3)]
    scale_errors = rng.choice(values, (len(layout.grids), side, side)).astype(float)
    if rng.integers(2):
        scale_errors[-1] = 0
    return rng.integers(0, rng.choice([2, 15, 60]), (side, side)).astype(float), scale_errors


def picture(layout: TokenLayout, rng: np.random.Generator) -> NDArray[np.uint8]:
    size = layout.size
    kind = rng.integers(3)
    if kind == 0:
        return rng.integers(0, 256, (size, size, 3), dtype=np.uint8)
    if kind == 1:
        return np.clip(np.cumsum(rng.normal(0, 20, (size, size, 3)), 0) + 128, 0, 255).astype(np.uint8)
    return (rng.random((size, size, 3)) ** 4 * 255).astype(np.uint8)


def stream(layout: TokenLayout, rng: np.random.Generator) -> tuple[TokenReceiver, Frame]:
    """A receiver that was sent a few tokens of one picture and now observes another."""
    receiver = TokenReceiver(layout)
    receiver.observe(picture(layout, rng))
    receiver.show(rng.choice(layout.count, min(4, layout.count), replace=False))
    frame = Frame(picture(layout, rng))
    receiver.observe(frame.working(layout.size))
    return receiver, frame


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(SMALL), seeds)
def test_choice_is_that_of_counting_every_error_anew(layout: TokenLayout, seed: int):
    rng = np.random.default_rng(seed)
    base, scale_errors = random_errors(layout, rng)
    budget = int(rng.integers(1, layout.count + 1))
    enough = float(rng.choice([0.0, base.sum() * rng.random()]))
    before = base.copy(), scale_errors.copy()
    ids, shares = choose(layout, base, scale_errors, budget, enough)
    assert ids.tolist() == choose_slowly(layout, base, scale_errors, budget, enough)
    assert len(shares) == len(ids)
    assert ((shares > 0) & (shares <= 1)).all()
    np.testing.assert_array_equal(base, before[0])
    np.testing.assert_array_equal(scale_errors, before[1])


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(SMALL), seeds)
def test_chosen_tokens_are_few_different_and_each_is_needed(layout: TokenLayout, seed: int):
    rng = np.random.default_rng(seed)
    base, scale_errors = random_errors(layout, rng)
    budget = int(rng.integers(1, layout.count + 1))
    ids = choose(layout, base, scale_errors, budget, 0.0)[0].tolist()
    assert len(ids) <= budget
    assert len(set(ids)) == len(ids)
    total = shown(layout, base, scale_errors, ids).sum()
    for token in ids:  # this covers tokens that others hide
        rest = [other for other in ids if other != token]
        assert shown(layout, base, scale_errors, rest).sum() > total
    if len(ids) < budget:
        for token in range(layout.count):
            assert shown(layout, base, scale_errors, [*ids, token]).sum() >= total


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(SMALL), seeds)
def test_error_that_was_counted_is_the_error_of_the_picture(layout: TokenLayout, seed: int):
    rng = np.random.default_rng(seed)
    receiver, frame = stream(layout, rng)
    base, scales = receiver.errors.copy(), receiver.scale_errors.copy()
    gaze = GreedySource(layout).step(frame, receiver, Limits(budget=5), False)
    np.testing.assert_array_equal(receiver.errors, base)  # choosing shows nothing yet
    receiver.show(gaze.ids)
    expected = shown(layout, base, scales, gaze.ids.tolist()).sum()
    image = frame.working(layout.size).astype(np.int64)
    assert receiver.errors.sum() == expected == ((receiver.picture - image) ** 2).sum()


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(SMALL), seeds)
def test_more_budget_never_shows_a_worse_picture(layout: TokenLayout, seed: int):
    rng = np.random.default_rng(seed)
    base, scale_errors = random_errors(layout, rng)
    if rng.integers(2):
        receiver, _ = stream(layout, rng)
        base, scale_errors = receiver.errors, receiver.scale_errors
    totals = [base.sum()]
    for budget in range(1, layout.count + 1):
        ids = choose(layout, base, scale_errors, budget, 0.0)[0]
        totals.append(shown(layout, base, scale_errors, ids.tolist()).sum())
    assert totals == sorted(totals, reverse=True)


def test_first_picks_are_the_largest_falls_on_a_real_layout():
    layout = TokenLayout()
    rng = np.random.default_rng(3)
    receiver, frame = stream(layout, rng)
    base, scales = receiver.errors, receiver.scale_errors
    chosen: list[int] = []
    for budget in range(1, 6):
        total = shown(layout, base, scales, chosen).sum()
        falls = [total - shown(layout, base, scales, [*chosen, t]).sum() for t in range(layout.count)]
        chosen.append(int(np.argmax(falls)))
        gaze = GreedySource(layout).step(frame, receiver, Limits(budget=budget), False)
        assert gaze.ids.tolist() == chosen
    assert gaze.ids.dtype == np.int32
    assert np.isnan(gaze.predicted_loss).all()
    share = falls[chosen[-1]] / sum_of_cell(layout, shown(layout, base, scales, chosen[:-1]), chosen[-1])
    assert gaze.confidence[-1] == pytest.approx(share)


def sum_of_cell(layout: TokenLayout, errors: Errors, token: int) -> float:
    _, grid, row, col = layout.table[token].tolist()
    block = len(errors) // grid
    return errors[row * block : (row + 1) * block, col * block : (col + 1) * block].sum()


@pytest.mark.parametrize("target", [15.0, 25.0])
def test_it_stops_as_soon_as_the_target_is_met(target: float):
    layout = TokenLayout()
    receiver, frame = stream(layout, np.random.default_rng(4))
    gaze = GreedySource().step(frame, receiver, Limits(budget=265, target_psnr=target), False)
    assert 1 < len(gaze.ids) < 196
    receiver.show(gaze.ids)
    assert receiver.psnr >= target
    receiver, _ = stream(layout, np.random.default_rng(4))
    receiver.show(gaze.ids[:-1])
    assert receiver.psnr < target


@pytest.mark.parametrize("target", [38.0, math.inf])
def test_a_still_scene_is_sent_once_and_then_nothing(target: float):
    frame = Frame(picture(TokenLayout(), np.random.default_rng(2)))
    receiver, source = TokenReceiver(), GreedySource()
    counts = []
    for index in range(12):
        receiver.observe(frame.working(224))
        gaze = source.step(frame, receiver, Limits(budget=30, target_psnr=target), index == 0)
        receiver.show(gaze.ids)
        counts.append(len(gaze.ids))
    assert counts[0] == 30
    assert counts[-2:] == [0, 0]
    assert receiver.psnr >= target


def test_the_same_frames_give_the_same_choice():
    results = []
    for _ in range(2):
        receiver, frame = stream(TokenLayout(), np.random.default_rng(9))
        gaze = GreedySource().step(frame, receiver, Limits(budget=40), False)
        results.append((gaze.ids.tobytes(), gaze.confidence.tobytes()))
    assert results[0] == results[1]
