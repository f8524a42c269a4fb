"""The model that ships with the package: small, complete, and a sensible gaze."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from autogaze_ros.gaze import Frame  # noqa: E402
from autogaze_ros.pipeline import Pipeline  # noqa: E402
from autogaze_ros.replay.clips import DrawnClip  # noqa: E402
from autogaze_ros.resources import model_folder  # noqa: E402
from autogaze_ros.settings import Settings  # noqa: E402


@pytest.fixture(scope="module")
def pictures():
    return list(DrawnClip(224, 224, 12))[:6]


def gazes(pictures, **settings):
    pipeline = Pipeline(
        Settings(source="autogaze", model="builtin", device="cpu", gap_threshold=0.0, **settings)
    )
    return [pipeline.step(Frame(picture, stamp=index)) for index, picture in enumerate(pictures)]


def test_comes_with_its_card_and_is_small():
    folder = model_folder("builtin")
    assert (folder / "MODEL_CARD.md").is_file()
    assert sum(path.stat().st_size for path in folder.iterdir()) < 15e6


def test_sees_a_moving_scene(pictures):
    first, *rest = gazes(pictures, loss_threshold=-100.0)
    assert len(first) == 198
    assert first.psnr > 35
    assert all(len(gaze) == 20 for gaze in rest)
    assert np.mean([gaze.psnr for gaze in rest]) > 32


def test_a_still_scene_takes_few_tokens_and_a_cut_many(pictures):
    still, cut = [pictures[0]] * 8, [255 - pictures[0]] * 2
    first, *rest = gazes(still + cut, budget=198, cut_threshold=0.0)
    assert len(first) > 40
    assert np.mean([len(gaze) for gaze in rest[:7]]) <= 2
    assert len(rest[7]) > 40
