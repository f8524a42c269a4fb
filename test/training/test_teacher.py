"""The batched receiver and teacher give the bytes and the choices of the CPU's, frame for frame."""

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from autogaze_ros.gaze.receiver import TokenReceiver  # noqa: E402
from autogaze_ros.gaze.sources.greedy import choose  # noqa: E402
from autogaze_ros.gaze.tokens import DEFAULT_LAYOUT  # noqa: E402
from autogaze_ros.training.receiver import BatchReceiver  # noqa: E402
from autogaze_ros.training.teacher import Choices, Teacher  # noqa: E402


def clips(streams: int, frames: int) -> np.ndarray:
    """(streams, frames, 224, 224, 3) uint8: flat, smooth and noisy regions that shift and change."""
    rng = np.random.default_rng(5)
    coarse = rng.integers(0, 256, (streams, 16, 16, 3), np.uint8)
    picture = coarse.repeat(14, 1).repeat(14, 2).astype(np.int64)
    picture[:, :, 112:] += rng.integers(-40, 41, (streams, 224, 112, 3))
    picture = np.clip(picture, 0, 255).astype(np.uint8)
    return np.stack([np.roll(picture, 3 * t, axis=1 + t % 2) for t in range(frames)], 1)


@pytest.mark.parametrize("name", ["cpu", "cuda"])
@pytest.mark.parametrize("target", [math.inf, 30.0])
def test_equals_the_greedy_source(target, name):
    if name == "cuda" and not torch.cuda.is_available():
        pytest.skip("no GPU")
    device = torch.device(name)
    frames = clips(3, 3)
    receiver, teacher = BatchReceiver(3, device), Teacher(device)
    single = [TokenReceiver() for _ in range(3)]
    for t, budget in enumerate((40, 7, 20)):
        planes = torch.from_numpy(frames[:, t].transpose(0, 3, 1, 2).astype(np.float32))
        base, scales = receiver.observe(planes.to(device))
        enough = single[0].error_at(target)
        ids = teacher.choose(base, scales, budget, enough)
        for b, one in enumerate(single):
            one.observe(frames[b, t])
            assert np.array_equal(base[b].cpu().numpy(), one.errors)
            assert np.array_equal(scales[b].cpu().numpy(), one.scale_errors)
            expected, _ = choose(DEFAULT_LAYOUT, one.errors, one.scale_errors, budget, enough)
            assert ids[b] == expected.tolist()
            one.show(expected)
        chosen = Choices.none(base, scales).chosen
        for b, row in enumerate(ids):
            chosen[b, row] = True
        receiver.show(teacher.level(chosen))
        for b, one in enumerate(single):
            shown = receiver.picture[b].cpu().numpy().transpose(1, 2, 0)
            assert np.array_equal(shown, one.picture)
