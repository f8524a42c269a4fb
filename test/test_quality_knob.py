"""The quality knob: more of it never gives fewer tokens on the same frame."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autogaze_ros.gaze import Frame
from autogaze_ros.pipeline import Pipeline
from autogaze_ros.settings import Settings

KNOB = st.floats(0, 1)


@given(KNOB, KNOB)
def test_every_limit_grows_more_demanding(a: float, b: float):
    less, more = sorted((a, b))
    for keyframe in (False, True):
        low, high = (Settings(quality=q).limits(keyframe) for q in (less, more))
        assert low.budget <= high.budget
        assert low.target_psnr <= high.target_psnr
        assert low.loss_threshold >= high.loss_threshold
        assert low.change_threshold >= high.change_threshold


def test_the_ends_of_the_knob():
    low, high = (Settings(quality=q).limits(False) for q in (0.0, 1.0))
    assert (low.budget, high.budget) == (4, 265)
    assert (low.target_psnr, high.target_psnr) == (25, 50)
    assert low.loss_threshold == 1
    assert high.loss_threshold == pytest.approx(0.4)
    assert (low.change_threshold, high.change_threshold) == (32, 1)
    assert Settings(quality=-1.0).limits(False).budget == Settings().budget


@pytest.mark.parametrize("source", ["greedy", "patch_diff"])
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), a=KNOB, b=KNOB, noise=st.sampled_from([2, 10, 60]))
def test_more_quality_never_gives_fewer_tokens_on_the_same_frame(
    source: str, seed: int, a: float, b: float, noise: int
):
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (7, 7, 3)).astype(np.uint8).repeat(32, axis=0).repeat(32, axis=1)
    first = np.clip(coarse + rng.normal(0, noise, coarse.shape), 0, 255).astype(np.uint8)
    second = np.roll(first, int(rng.integers(1, 60)), axis=int(rng.integers(0, 2)))
    counts = []
    for quality in sorted((a, b)):
        pipeline = Pipeline(Settings(source=source, quality=0.5, cut_threshold=0.0))
        begun = len(pipeline.step(Frame(first)))
        pipeline.settings = Settings(source=source, quality=quality, cut_threshold=0.0)
        counts.append((begun, len(pipeline.step(Frame(second)))))
    (start_low, low), (start_high, high) = counts
    assert start_low == start_high
    assert low <= high
