"""A training in small: it runs, saves, goes on, and leaves a model that the package can use."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
if not hasattr(torch.optim, "Muon"):
    pytest.skip("training needs PyTorch 2.9", allow_module_level=True)

from autogaze_ros.model import AutoGaze  # noqa: E402
from autogaze_ros.training.checkpoint import config_values  # noqa: E402
from autogaze_ros.training.lessons import Classroom, loss_from_psnr, psnr_from_loss, random_plan  # noqa: E402
from autogaze_ros.training.scenes import make_clips, varied  # noqa: E402
from autogaze_ros.training.student import Plan  # noqa: E402
from autogaze_ros.training.train import Recipe, Training, measure  # noqa: E402

CPU = torch.device("cpu")
SMALL = config_values(hidden=48, layers=2, heads=3, inner=64)


@pytest.fixture(scope="module")
def clips():
    return make_clips(4, 2, 3, CPU)


def test_scenes_repeat_and_differ(clips):
    assert clips.shape == (2, 3, 3, 224, 224)
    assert clips.dtype == torch.uint8
    assert torch.equal(clips, make_clips(4, 2, 3, CPU))
    assert not torch.equal(clips, make_clips(5, 2, 3, CPU))
    assert not torch.equal(clips, make_clips(4, 2, 3, CPU, held_out=True))
    assert varied(clips, 3).shape == clips.shape


def test_lessons_say_what_helps_and_what_remains(clips):
    plan = Plan((21, 5, 10), (False, False, True))
    lessons = Classroom(2, CPU).teach(clips, plan)
    assert lessons.target.shape == (2, 3 + 1 + 2, 10, 265)
    assert [ids.shape[1] for ids in lessons.ids] == [21, 5, 10]
    assert all(len(set(row.tolist())) == len(row) for ids in lessons.ids for row in ids)
    first = lessons.loss[:, :3].flatten(1)
    assert (first.diff(dim=1) <= 0).all()
    # A later block begins where the one before has ended; what was taken is no target any more.
    assert lessons.blocked[:, 1, 0].sum(1).tolist() == [10, 10]
    assert not (lessons.target.bool() & lessons.blocked).any()
    # The loss of the last frame's closing block is that of the picture then shown.
    torch.testing.assert_close(lessons.loss[:, -1, 0], loss_from_psnr(lessons.psnr[:, -1]), atol=1e-3, rtol=0)


def test_a_loss_is_a_straight_line_in_decibels():
    decibels = torch.tensor([25.0, 37.5, 50.0])
    torch.testing.assert_close(loss_from_psnr(decibels), torch.tensor([1.0, 0.7, 0.4]))
    torch.testing.assert_close(psnr_from_loss(loss_from_psnr(decibels)), decibels)


def test_plans_are_what_robots_use():
    plans = [random_plan(seed, 16) for seed in range(50)]
    assert all(20 <= plan.counts[0] <= 198 and all(1 <= n <= 40 for n in plan.counts[1:]) for plan in plans)
    assert any(any(plan.closing) for plan in plans)


def test_trains_saves_and_goes_on(tmp_path, clips):
    recipe = Recipe(
        minutes=1, pool=2, batch=2, frames=3, short=2, long=3, own_from=0.0, own=0.5, warm_steps=5
    )
    training = Training(recipe, CPU, SMALL)
    training.run(4, lambda _: None, tmp_path)
    steps = training.optimizer.steps
    assert steps > 0
    training.save(tmp_path)

    later = Training(replace(recipe, minutes=2), CPU, SMALL)
    later.resume(tmp_path)
    assert later.optimizer.steps == steps
    later.run(1, lambda _: None)
    assert later.optimizer.steps > steps
    assert later.seconds > training.seconds

    figures = measure(later.average, clips, (12, 3, 3), later._precision())
    assert np.isfinite(list(figures.values())).all()
    stream = AutoGaze.from_folder(tmp_path, "cpu").stream()
    assert len(stream.step(clips[0, 0].permute(1, 2, 0).numpy(), gazing_ratio=0.05).ids) == 13
