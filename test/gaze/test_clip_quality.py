"""How good the greedy gaze is on a real clip."""

import os
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from autogaze_ros.gaze import Frame
from autogaze_ros.pipeline import Pipeline
from autogaze_ros.replay.clips import Video
from autogaze_ros.settings import Settings

SHARED = Path(os.environ.get("AUTOGAZE_SHARED") or Path(__file__).parents[3] / "shared")
CLIP = SHARED / "data/example_input.mp4"


@cache
def frames() -> list[Frame]:
    pytest.importorskip("av", reason="av comes from pip only")
    return [Frame(picture, stamp=index) for index, picture in enumerate(Video(CLIP))]


@pytest.mark.skipif(
    not CLIP.is_file(), reason=f"{CLIP} is not there; AUTOGAZE_SHARED names the folder with it"
)
@pytest.mark.parametrize(("budget", "least"), [(5, 33.6), (10, 37.7), (20, 43.4), (40, 53.0)])
def test_psnr_of_a_real_clip(budget: int, least: float):
    settings = Settings(
        budget=budget, keyframe_budget=198, target_psnr=0.0, cut_threshold=0.0, gap_threshold=0.0
    )
    pipeline = Pipeline(settings)
    first, *rest = [pipeline.step(frame) for frame in frames()]
    assert first.keyframe
    assert len(first) <= 198
    assert not any(gaze.keyframe for gaze in rest)
    assert max(len(gaze) for gaze in rest) <= budget
    # Identical pictures have no finite PSNR; 100 dB stands for them.
    assert np.mean([min(gaze.psnr, 100.0) for gaze in rest]) >= least
