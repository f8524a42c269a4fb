"""The picture of a receiver that was sent the gazed cells alone."""

import numpy as np
import pytest
from numpy.typing import NDArray

from autogaze_ros.gaze import Frame
from autogaze_ros.render import Reconstruction

IDS = [0, 30, 264, 100]


def noise(seed: int, width: int = 101, height: int = 33) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture
def gaze_at(make_gaze):
    def at(index: int, ids=IDS, width: int = 101, height: int = 33, keyframe: bool = False):
        return make_gaze(ids, width, height, sequence=index, keyframe=keyframe)

    return at


def test_after_a_keyframe_only_covered_pixels_change(gaze_at):
    receiver = Reconstruction()
    expected = noise(0)
    np.testing.assert_array_equal(receiver.update(Frame(noise(0)), gaze_at(0, keyframe=True)), expected)
    for index, ids in [(1, IDS), (2, [5, 200]), (3, []), (4, [1, 2, 3])]:
        covered = np.zeros(expected.shape[:2], bool)
        for x0, y0, x1, y1 in gaze_at(index, ids).boxes.tolist():
            covered[y0:y1, x0:x1] = True
        expected = np.where(covered[:, :, None], noise(index), expected)
        shown = receiver.update(Frame(noise(index)), gaze_at(index, ids))
        np.testing.assert_array_equal(shown, expected)


@pytest.mark.parametrize(
    ("index", "keyframe"),
    [(2, True), (3, False), (1, False), (0, False)],
    ids=["keyframe", "gap", "again", "back"],
)
def test_everything_is_copied_where_what_was_before_is_not_known(gaze_at, index: int, keyframe: bool):
    receiver = Reconstruction()
    for before in range(2):
        receiver.update(Frame(noise(before)), gaze_at(before, keyframe=before == 0))
    shown = receiver.update(Frame(noise(9)), gaze_at(index, keyframe=keyframe))
    np.testing.assert_array_equal(shown, noise(9))


def test_the_first_frame_that_it_is_given_is_copied(gaze_at):
    shown = Reconstruction().update(Frame(noise(1)), gaze_at(0))
    np.testing.assert_array_equal(shown, noise(1))


@pytest.mark.parametrize("size", [(102, 33), (101, 32), (33, 101), (1, 1)])
def test_another_size_is_copied(gaze_at, size: tuple[int, int]):
    receiver = Reconstruction()
    receiver.update(Frame(noise(0)), gaze_at(0))
    shown = receiver.update(Frame(noise(1, *size)), gaze_at(1, IDS, *size))
    np.testing.assert_array_equal(shown, noise(1, *size))


def test_frames_are_copied_and_only_read(gaze_at):
    receiver = Reconstruction()
    buffer = noise(0)
    shown = receiver.update(Frame(buffer), gaze_at(0, keyframe=True))
    buffer[:] = 0
    np.testing.assert_array_equal(shown, noise(0))
    still = np.asfortranarray(noise(1))
    still.setflags(write=False)
    for index in (1, 2):
        receiver.update(Frame(still), gaze_at(index, keyframe=index == 2))
    np.testing.assert_array_equal(receiver.update(Frame(noise(3)), gaze_at(3, [])), still)
