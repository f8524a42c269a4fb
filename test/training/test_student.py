"""The student computes what the model computes, and is trained on the order and positions that a stream has."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from autogaze_ros.model import AutoGaze  # noqa: E402
from autogaze_ros.training.checkpoint import config_values, load_folder, new_student, save_folder  # noqa: E402
from autogaze_ros.training.rollout import look  # noqa: E402
from autogaze_ros.training.student import Plan  # noqa: E402


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.manual_seed(3)
    values = config_values(hidden=48, layers=2, heads=3, inner=64)
    path = tmp_path_factory.mktemp("student")
    save_folder(path, new_student(values).state_dict(), values)
    return path


@pytest.fixture(scope="module")
def frames():
    rng = np.random.default_rng(2)
    picture = rng.integers(0, 256, (28, 28, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    return np.stack([np.roll(picture, 5 * t, 0) for t in range(5)])


def stream_of(folder, frames, plan, window=16):
    model = AutoGaze.from_folder(folder, "cpu")
    stream = model.stream(window=window)
    return [
        stream.step(frame, gazing_ratio=(count + 0.5) / 265)
        for frame, count in zip(frames, plan.counts, strict=True)
    ]


@pytest.mark.parametrize("window", [16, 3])
def test_chooses_what_a_stream_chooses(folder, frames, window):
    plan = Plan((25, 10, 4, 20, 13), (False,) * 5)
    gazes = stream_of(folder, frames, plan, window)
    clip = torch.from_numpy(frames.transpose(0, 3, 1, 2).copy())[None]
    ids, _ = look(load_folder(folder), clip, plan, window)
    assert [row[0].tolist() for row in ids] == [gaze.ids.tolist() for gaze in gazes]


def test_one_masked_pass_gives_a_streams_losses(folder, frames):
    plan = Plan((25, 10, 4, 20, 13), (False,) * 5)
    gazes = stream_of(folder, frames, plan)
    clip = torch.from_numpy(frames.transpose(0, 3, 1, 2).copy())[None]
    ids = [torch.from_numpy(gaze.ids)[None] for gaze in gazes]
    with torch.no_grad():
        scores, losses = load_folder(folder)(clip, ids, plan)
    row = 0
    for frame, gaze in enumerate(gazes):
        blocks = plan.blocks(frame)
        mine = losses[0, row : row + blocks].flatten()[: len(gaze.ids)]
        torch.testing.assert_close(mine, torch.from_numpy(gaze.predicted_loss), rtol=1e-3, atol=1e-4)
        best = scores[0, row, 0].argmax()
        assert best == gaze.ids[0]
        row += blocks


def test_positions_of_a_closing_block():
    plan = Plan((3, 1), (True, False), vision=4, slots=3)
    assert plan.positions().tolist() == [0, 1, 2, 3, 1, 2, 3, 7, 8, 9, 10, 11]
    assert plan.rows().tolist() == [3, 6, 10]
    waiting = Plan((3, 1), (False, False), vision=4, slots=3)
    assert waiting.positions().tolist() == list(range(12))
    assert waiting.rows().tolist() == [3, 10]
