"""The patch difference source, cell by cell."""

import numpy as np
import pytest
from numpy.typing import NDArray

from autogaze_ros.gaze import Frame, TokenLayout, TokenReceiver
from autogaze_ros.gaze.sources import Gaze, Limits, PatchDiffSource

LAYOUT = TokenLayout()
FIRST = LAYOUT.offsets[-1]
ALL = Limits(budget=265)


class Scene:
    """A grey picture whose 14 x 14 cells are changed one by one, and the source that sees it."""

    def __init__(self, **limits: float) -> None:
        self.image = np.full((224, 224, 3), 100, np.uint8)
        self.limits = Limits(**{"budget": 265, "change_threshold": 8.0, "hysteresis": 1.0} | limits)
        self.source = PatchDiffSource()
        self.receiver = TokenReceiver()
        self.look(keyframe=True, limits=ALL)

    def add(self, cell: int, levels: int) -> None:
        row, col = divmod(cell, 14)
        self.image[row * 16 : row * 16 + 16, col * 16 : col * 16 + 16] += np.uint8(levels)

    def gaze(self, keyframe: bool = False, limits: Limits | None = None) -> Gaze:
        frame = Frame(self.image.copy())
        return self.source.step(frame, self.receiver, limits or self.limits, keyframe)

    def look(self, keyframe: bool = False, limits: Limits | None = None) -> list[int]:
        return (self.gaze(keyframe, limits).ids - FIRST).tolist()


def test_a_keyframe_gazes_at_every_cell_with_what_budget_there_is():
    scene = Scene()
    assert scene.look(keyframe=True, limits=ALL) == list(range(196))
    assert scene.look(keyframe=True, limits=Limits(budget=20)) == list(range(20))


def test_cells_that_the_keyframe_left_out_are_new_until_seen():
    scene = Scene(budget=100)
    assert scene.look(keyframe=True) == list(range(100))
    scene.add(5, 30)
    assert scene.look() == [*range(100, 196), 5]
    assert scene.look() == []


def test_a_cell_changes_from_the_threshold_on():
    scene = Scene()
    scene.add(17, 7)
    scene.add(18, 8)
    assert scene.look() == [18]
    assert scene.gaze().ids.dtype == np.int32


def test_the_mean_over_pixels_and_colours_counts():
    scene = Scene()
    scene.image[:16, :16, 0] += 24  # 8 on average
    scene.image[:16, 16:32, 0] += 23
    scene.image[:16, 32:40] += 16  # half of the cell by twice as much
    assert scene.look() == [0, 2]


def test_slow_drift_adds_up():
    scene = Scene()
    seen = []
    for _ in range(7):
        scene.add(40, 3)
        seen.append(scene.look())
    assert seen == [[], [], [40], [], [], [40], []]


def test_fast_cells_do_not_hide_the_drift_of_others():
    scene = Scene(budget=1)
    for _ in range(3):
        scene.add(0, 20)
        scene.add(9, 4)
        assert scene.look() == [0]
    assert scene.look() == [9]


def test_hysteresis_holds_a_cell_that_was_just_gazed_at():
    scene = Scene(hysteresis=0.5)
    scene.add(3, 8)
    assert scene.look() == [3]
    scene.add(3, 4)
    scene.add(4, 4)
    assert scene.look() == [3], "4 grey levels do for the cell that was gazed at, not for its neighbour"
    scene.add(3, 3)
    assert scene.look() == []
    scene.add(3, 4)  # 7 now, but no longer held
    assert scene.look() == []


def test_budget_goes_to_the_largest_changes():
    scene = Scene(budget=3)
    for cell, levels in [(10, 20), (20, 50), (30, 40), (40, 30), (50, 50)]:
        scene.add(cell, levels)
    gaze = scene.gaze()
    assert (gaze.ids - FIRST).tolist() == [20, 50, 30]
    np.testing.assert_allclose(gaze.confidence, [50 / 58, 50 / 58, 40 / 48], rtol=1e-6)
    assert np.isnan(gaze.predicted_loss).all()
    assert scene.look() == [40, 10], "what the budget left out is still changed"


def test_threshold_0_takes_any_change_but_not_none():
    scene = Scene(change_threshold=0.0)
    scene.image[0, 0, 0] += 1
    gaze = scene.gaze()
    assert (gaze.ids - FIRST).tolist() == [0]
    assert gaze.confidence.tolist() == [1.0]


def test_a_still_picture_draws_no_gaze():
    assert Scene(change_threshold=0.0).look() == []


@pytest.mark.parametrize("size", [112, 448])
def test_a_noisy_stream_against_plain_numpy(size: int):
    """The whole rule at once, at other working sizes."""
    layout = TokenLayout(patch=size // 14)
    source, receiver = PatchDiffSource(layout), TokenReceiver(layout)
    limits = Limits(budget=20, change_threshold=11.0, hysteresis=0.7)
    rng = np.random.default_rng(size)

    def cells(image: NDArray) -> NDArray:
        patch = layout.patch
        return image.reshape(14, patch, 14, patch, 3).swapaxes(1, 2).reshape(196, -1)

    image = rng.integers(0, 256, (size, size, 3), dtype=np.uint8)
    accepted, held = cells(image).astype(int).copy(), np.zeros(196, bool)
    source.step(Frame(image), receiver, Limits(budget=196), True)
    held[:] = True
    counts = []
    for _ in range(20):
        strength = np.kron(rng.integers(0, 7, (14, 14)), np.ones((layout.patch, layout.patch)))[..., None]
        image = np.clip(image + rng.normal(0, 1, image.shape) * strength, 0, 255).astype(np.uint8)
        change = np.abs(cells(image).astype(int) - accepted).mean(axis=1)
        wanted = np.flatnonzero(change >= np.where(held, 11.0 * 0.7, 11.0))
        expected = sorted(wanted.tolist(), key=lambda cell: -change[cell])[:20]
        ids = source.step(Frame(image), receiver, limits, False).ids - layout.offsets[-1]
        assert ids.tolist() == expected
        held[:] = False
        held[expected] = True
        accepted[expected] = cells(image)[expected]
        counts.append(len(expected))
    assert 0 < min(counts[8:]) < 20 <= max(counts), "budget and threshold both decide"
