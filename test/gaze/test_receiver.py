"""The receiver against a slow one in exact arithmetic, and its errors against the pixels it shows."""

import math
from fractions import Fraction

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from autogaze_ros.gaze import TokenLayout, TokenReceiver, psnr

Picture = NDArray[np.uint8]
Matrix = NDArray[np.int64]


def layout_of(size: int) -> TokenLayout:
    return TokenLayout(patch=size // 14)


def half_up(values: Matrix, unit: int) -> Matrix:
    """Divide and round, halves upwards, in whole numbers."""
    return np.clip((2 * values + unit) // (2 * unit), 0, 255)


def overlaps(patch: int, box: int) -> tuple[Matrix, int]:
    """How much of pixel x lies in the i-th of ``patch`` equal parts of a cell, and what a whole part is."""
    step = Fraction(box, patch)
    share = [
        [
            max(Fraction(0), min((i + 1) * step, Fraction(x + 1)) - max(i * step, Fraction(x)))
            for x in range(box)
        ]
        for i in range(patch)
    ]
    return np.array([[int(s * patch) for s in row] for row in share]), int(step * patch)


def keys(t: Fraction) -> Fraction:
    """Keys' cubic kernel with a = -1/2."""
    t = abs(t)
    if t <= 1:
        return Fraction(3, 2) * t**3 - Fraction(5, 2) * t**2 + 1
    if t < 2:
        return -Fraction(1, 2) * t**3 + Fraction(5, 2) * t**2 - 4 * t + 2
    return Fraction(0)


def taps(patch: int, box: int) -> Matrix:
    """(box, patch) weights in 128ths; beyond the cell its edge goes on; the largest takes what rounding left."""
    matrix = np.zeros((box, patch), np.int64)
    for x in range(box):
        centre = Fraction((2 * x + 1) * patch, 2 * box) - Fraction(1, 2)
        weights = [Fraction(0)] * patch
        for i in range(-3, patch + 3):
            weights[min(max(i, 0), patch - 1)] += keys(centre - i)
        assert sum(weights) == 1
        whole = [round(128 * w) for w in weights]
        whole[whole.index(max(whole))] += 128 - sum(whole)
        matrix[x] = whole
    return matrix


def as_tokens(image: Picture, layout: TokenLayout, scale: int) -> Matrix:
    """The image as all tokens of one scale show it, cell by cell."""
    grid = layout.grids[scale]
    box = layout.size // grid
    parts, unit = overlaps(layout.patch, box)
    spread = taps(layout.patch, box)
    shown = np.zeros(image.shape, np.int64)
    for top in range(0, layout.size, box):
        for left in range(0, layout.size, box):
            for channel in range(3):
                cell = image[top : top + box, left : left + box, channel].astype(np.int64)
                patch = half_up(parts @ cell @ parts.T, unit * unit)
                shown[top : top + box, left : left + box, channel] = half_up(
                    spread @ patch @ spread.T, 128 * 128
                )
    return shown


def scene(kind: str, size: int) -> Picture:
    y, x = np.mgrid[:size, :size]
    rng = np.random.default_rng(5)
    if kind == "noise":
        return rng.integers(0, 256, (size, size, 3), dtype=np.uint8)
    if kind == "coarse noise":  # survives the averaging, so that the spreading over- and undershoots
        blocks = rng.integers(0, 2, (28, 28, 3)) * 255
        return np.kron(blocks, np.ones((size // 28, size // 28, 1))).astype(np.uint8)
    if kind == "checker":
        return np.repeat((((x + y) % 2) * 255)[:, :, None], 3, axis=2).astype(np.uint8)
    if kind == "halves":  # 2 x 2 means end in a half
        return np.stack([(x + y) % 2, (x % 2) * (y % 2) * 2, 254 + (x + y) % 2], axis=2).astype(np.uint8)
    return np.full((size, size, 3), {"black": 0, "white": 255}[kind], np.uint8)


def cell_errors(shown: NDArray, image: Picture, side: int) -> NDArray[np.int64]:
    """Squared error in each cell of the map, in whole numbers."""
    squares = (shown.astype(np.int64) - image) ** 2
    block = len(image) // side
    return squares.reshape(side, block, side, block, 3).sum(axis=(1, 3, 4))


def tokens_of(layout: TokenLayout, scale: int) -> NDArray[np.int64]:
    return np.flatnonzero(layout.table[:, 0] == scale)


@pytest.mark.parametrize("kind", ["noise", "coarse noise", "checker", "halves", "black", "white"])
@pytest.mark.parametrize("size", [112, 224, 448])
def test_tokens_show_what_exact_arithmetic_gives(size: int, kind: str):
    layout, image = layout_of(size), scene(kind, size)
    receiver = TokenReceiver(layout)
    receiver.observe(image)
    for scale in range(4):
        expected = as_tokens(image, layout, scale)
        np.testing.assert_array_equal(receiver.scale_errors[scale], cell_errors(expected, image, 28))
        receiver.show(tokens_of(layout, scale))
        np.testing.assert_array_equal(receiver.picture, expected)
        np.testing.assert_array_equal(receiver.errors, receiver.scale_errors[scale])
    np.testing.assert_array_equal(image, expected)  # the finest scale has every pixel
    assert receiver.picture.dtype == np.uint8


@pytest.mark.parametrize("size", [112, 224, 448, 476, 896])
def test_error_sums_are_exact_at_the_largest_errors(size: int):
    layout = layout_of(size)
    receiver = TokenReceiver(layout)
    receiver.observe(scene("black", size))
    receiver.show(tokens_of(layout, 3))
    bright = np.random.default_rng(0).integers(250, 256, (size, size, 3), dtype=np.uint8)
    for image in (scene("white", size), bright):
        receiver.observe(image)
        np.testing.assert_array_equal(receiver.errors, cell_errors(np.zeros_like(image), image, 28))


def test_errors_and_psnr_follow_the_picture_through_a_stream():
    rng = np.random.default_rng(1)
    layout = layout_of(224)
    receiver = TokenReceiver(layout)
    image = scene("coarse noise", 224)
    for _ in range(4):
        image = np.clip(image + rng.integers(-30, 31, image.shape), 0, 255).astype(np.uint8)
        receiver.observe(image)
        np.testing.assert_array_equal(receiver.errors, cell_errors(receiver.picture, image, 28))
        receiver.show(rng.choice(layout.count, 40, replace=False))
        shown = receiver.picture
        np.testing.assert_array_equal(receiver.errors, cell_errors(shown, image, 28))
        mean = np.mean((shown.astype(np.float64) - image) ** 2)
        assert receiver.psnr == pytest.approx(10 * math.log10(255**2 / mean), abs=1e-9)
        assert receiver.psnr == pytest.approx(cv2.PSNR(shown, image), abs=1e-6)
        assert receiver.psnr == pytest.approx(psnr(shown, image), abs=1e-9)
        assert receiver.error_at(receiver.psnr) == pytest.approx(receiver.errors.sum())


def test_finer_tokens_lie_over_coarser_ones_and_the_rest_stays():
    layout, image = layout_of(224), scene("noise", 224)
    receiver = TokenReceiver(layout)
    receiver.observe(image)
    receiver.show([69, 0])  # the upper left cells of the finest and the coarsest scale
    expected = np.full(image.shape, 128)
    expected[:112, :112] = as_tokens(image, layout, 0)[:112, :112]
    expected[:16, :16] = image[:16, :16]
    np.testing.assert_array_equal(receiver.picture, expected)


def test_reset_shows_mid_grey_again():
    receiver = TokenReceiver()
    receiver.observe(scene("noise", 224))
    receiver.show([0, 1, 2, 3])
    assert not (receiver.picture == 128).all()
    receiver.reset()
    assert (receiver.picture == 128).all()


def test_an_identical_picture_has_infinite_psnr():
    receiver = TokenReceiver()
    receiver.observe(scene("noise", 224))
    receiver.show(tokens_of(receiver.layout, 3))
    assert receiver.psnr == math.inf
    assert receiver.error_at(math.inf) == 0


def test_a_bad_token_leaves_the_picture_as_it_was():
    receiver = TokenReceiver()
    receiver.observe(scene("noise", 224))
    with pytest.raises(ValueError, match="token id 265"):
        receiver.show([0, 265])
    assert (receiver.picture == 128).all()


def test_the_image_is_only_read():
    image = scene("noise", 224)
    image.setflags(write=False)
    flipped = image[:, ::-1]
    one, other = TokenReceiver(), TokenReceiver()
    one.observe(flipped)
    other.observe(flipped.copy())
    np.testing.assert_array_equal(one.scale_errors, other.scale_errors)


@pytest.mark.parametrize(
    "image",
    [np.zeros((112, 112, 3), np.uint8), np.zeros((224, 224), np.uint8), np.zeros((224, 224, 3), np.float32)],
    ids=["size", "grey", "float"],
)
def test_other_images_are_refused(image):
    with pytest.raises(ValueError, match=r"\(224, 224, 3\) uint8"):
        TokenReceiver().observe(image)


def test_a_size_that_cuts_pixels_is_refused():
    with pytest.raises(ValueError, match="multiple of 28"):
        TokenReceiver(TokenLayout(patch=3))
