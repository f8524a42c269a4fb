"""A frame checks what it is given, and never copies or writes to it."""

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as PilImage

from autogaze_ros.gaze import Frame

SIZES = [(1, 1), (5, 1), (1000, 3), (333, 1001), (480, 640), (700, 2500), (224, 224), (1080, 1920)]


def noise(height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(height + width).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((1, 4, 4, 3), np.uint8),
        np.zeros((4, 4, 3), np.int8),
        np.zeros((4, 4, 3), np.float32),
        [[[0, 0, 0]]],
        None,
    ],
    ids=["grey", "rgba", "batch", "int8", "float", "list", "none"],
)
def test_what_is_no_colour_image_is_refused(pixels):
    with pytest.raises(ValueError, match=r"\(height, width, 3\) uint8"):
        Frame(pixels)


@pytest.mark.parametrize("shape", [(0, 4, 3), (4, 0, 3)])
def test_an_empty_image_is_refused(shape):
    with pytest.raises(ValueError, match="at least one pixel"):
        Frame(np.zeros(shape, np.uint8))


def test_an_unknown_order_is_refused():
    with pytest.raises(ValueError, match="'rgb' or 'bgr'"):
        Frame(noise(2, 2), order="gbr")


def test_size_and_pixels_are_those_given():
    pixels = noise(5, 9)
    frame = Frame(pixels)
    assert (frame.height, frame.width) == (5, 9)
    assert frame.pixels is pixels
    assert frame.rgb() is pixels
    flipped = Frame(pixels, order="bgr").rgb()
    np.testing.assert_array_equal(flipped, pixels[:, :, ::-1])
    assert np.shares_memory(flipped, pixels)


@pytest.mark.parametrize("size", [112, 224])
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_working_image_is_the_models_own_resize(height: int, width: int, size: int):
    """Close to Pillow's bilinear with antialias, and exactly that where no halving comes before it."""
    pixels = noise(height, width)
    working = Frame(pixels).working(size)
    assert working.shape == (size, size, 3)
    assert working.dtype == np.uint8
    resized = PilImage.fromarray(pixels).resize((size, size), PilImage.Resampling.BILINEAR)
    difference = np.abs(working.astype(int) - np.asarray(resized))
    if min(height, width) < 3 * size:
        assert not difference.any()
    else:
        assert difference.mean() < 6, "the filters differ by little even on noise"


def test_halving_keeps_a_smooth_picture():
    y, x = np.mgrid[:1081, :1923]
    smooth = np.stack([x * 255 / 1922, y * 255 / 1080, (x + y) * 255 / 3002], axis=2).astype(np.uint8)
    resized = PilImage.fromarray(smooth).resize((224, 224), PilImage.Resampling.BILINEAR)
    difference = np.abs(Frame(smooth).working(224).astype(int) - np.asarray(resized))
    assert difference.max() <= 1


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_layout_in_memory_and_order_do_not_matter(height: int, width: int):
    pixels = noise(height, width)
    expected = Frame(pixels).working(224)
    views = {
        "upside down": (pixels[::-1].copy()[::-1], "rgb"),
        "columns first": (np.asfortranarray(pixels), "rgb"),
        "every second": (np.repeat(pixels, 2, axis=1)[:, ::2], "rgb"),
        "padded rows": (np.pad(pixels, ((0, 0), (0, 3), (0, 0)))[:, :width], "rgb"),
        "bgr": (pixels[:, :, ::-1].copy(), "bgr"),
        "bgr view": (pixels[:, :, ::-1], "bgr"),
    }
    for name, (view, order) in views.items():
        view.setflags(write=False)  # so that writing to it fails
        np.testing.assert_array_equal(Frame(view, order=order).working(224), expected, err_msg=name)


def test_working_images_are_made_once_a_size():
    frame = Frame(noise(300, 400))
    assert frame.working(112) is frame.working(112)
    assert frame.working(224).shape == (224, 224, 3)
    assert frame.working(112).shape == (112, 112, 3)
