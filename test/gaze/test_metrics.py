"""PSNR and loss."""

import math

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autogaze_ros.gaze import loss_from_psnr, psnr, psnr_from_loss


@pytest.mark.parametrize("shape", [(1, 1, 3), (7, 13, 3), (480, 640, 3), (2000, 2000)])
def test_psnr_is_numpys_and_opencvs(shape: tuple[int, ...]):
    rng = np.random.default_rng(0)
    one, other = (rng.integers(0, 256, shape, dtype=np.uint8) for _ in range(2))
    mean = np.mean((one.astype(np.float64) - other) ** 2)
    assert psnr(one, other) == pytest.approx(10 * math.log10(255**2 / mean), abs=1e-9)
    assert psnr(one, other) == pytest.approx(cv2.PSNR(one, other), abs=1e-6)


def test_psnr_at_its_ends():
    black, white = np.zeros((1080, 1920, 3), np.uint8), np.full((1080, 1920, 3), 255, np.uint8)
    assert psnr(black, white) == 0
    assert psnr(white, white) == math.inf
    white[0, 0, 0] = 254
    assert psnr(white, np.full_like(white, 255)) == pytest.approx(10 * math.log10(255**2 * white.size))


def test_psnr_of_views():
    image = np.random.default_rng(1).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    assert psnr(image[::2, ::-1], image[1::2]) == psnr(image[::2, ::-1].copy(), image[1::2].copy())


@pytest.mark.parametrize("shapes", [((4, 4, 3), (4, 5, 3)), ((0, 4, 3), (0, 4, 3)), ((4, 4), (4, 4, 3))])
def test_images_that_do_not_compare_are_refused(shapes):
    one, other = (np.zeros(shape, np.uint8) for shape in shapes)
    with pytest.raises(ValueError, match="one shape"):
        psnr(one, other)


@pytest.mark.parametrize(("decibels", "loss"), [(0.0, 1.0), (20.0, 0.1), (40.0, 0.01), (math.inf, 0.0)])
def test_decibels_and_losses(decibels: float, loss: float):
    assert loss_from_psnr(decibels) == pytest.approx(loss)
    assert psnr_from_loss(loss) == pytest.approx(decibels)


@given(st.floats(0, 300))
def test_decibels_survive_the_way_there_and_back(decibels: float):
    assert psnr_from_loss(loss_from_psnr(decibels)) == pytest.approx(decibels, abs=1e-9)


@pytest.mark.parametrize("loss", [-0.1, math.nan])
def test_no_such_loss(loss: float):
    with pytest.raises(ValueError, match="0 or more"):
        psnr_from_loss(loss)
