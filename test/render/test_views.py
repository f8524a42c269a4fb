"""The views against golden pictures, and what must hold for every one of them.

After a wanted change of a view: ``AUTOGAZE_NEW_GOLDEN=1 pytest test/render``, then look at each picture in test/data.
"""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from autogaze_ros.gaze import MASK_STYLES, Frame
from autogaze_ros.render import SCALE_COLOURS, VIEWS, draw_overlay, draw_view

DATA = Path(__file__).parents[1] / "data"
#: All scales: a coarse cell with finer ones over it, one alone, a row of fine ones, and neighbours.
IDS = [
    0,
    4 + 5,
    20 + 8,
    69 + 14 * 2 + 3,
    69 + 14 * 2 + 4,
    4 + 11,
    20 + 45,
    *range(69 + 14 * 12, 69 + 14 * 12 + 6),
]
SIZES = [(1, 1), (2, 3), (13, 7), (63, 64), (95, 300), (96, 96), (1001, 333)]


def scene(width: int = 320, height: int = 240) -> NDArray[np.uint8]:
    """A sky over a field with a dark tree and a white house, from arithmetic alone."""
    y, x = np.mgrid[:height, :width]
    u, v = x / width, y / height
    picture = np.stack([110 + 60 * v, 160 + 40 * v, 235 - 20 * v], axis=2)
    picture[v > 0.6] = (90, 140, 60)
    picture[((u - 0.25) ** 2 + (v - 0.4) ** 2) < 0.025] = (25, 60, 30)
    picture[(abs(u - 0.7) < 0.12) & (abs(v - 0.55) < 0.12)] = (245, 245, 240)
    return picture.astype(np.uint8)


def draw(view: str, picture: NDArray[np.uint8], gaze, order: str = "rgb", **options) -> NDArray[np.uint8]:
    """A view whose reconstruction is the scene moved a little to the right."""
    before = np.roll(picture, max(1, picture.shape[1] // 40), axis=1)
    return draw_view(view, Frame(picture, order=order), gaze, before, **options)


@pytest.mark.parametrize("view", VIEWS)
def test_view_is_the_golden_picture(make_gaze, view: str):
    drawn = draw(view, scene(), make_gaze(IDS, 320, 240, psnr=31.4))
    path = DATA / f"view_{view}.png"
    stored = cv2.COLOR_RGBA2BGRA if drawn.shape[2] == 4 else cv2.COLOR_RGB2BGR
    if os.environ.get("AUTOGAZE_NEW_GOLDEN"):
        cv2.imwrite(str(path), cv2.cvtColor(drawn, stored))
    golden = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert golden is not None, f"{path} is missing"
    difference = cv2.absdiff(cv2.cvtColor(drawn, stored), golden)
    # Versions of OpenCV smooth letters and round blends differently.
    assert difference.mean() < 0.5
    assert (difference.max(axis=2) > 24).mean() < 0.005


@pytest.mark.parametrize("style", MASK_STYLES)
@pytest.mark.parametrize("view", VIEWS)
def test_rgb_and_bgr_show_the_same(make_gaze, view: str, style: str):
    gaze = make_gaze(IDS, 320, 240)
    rgb = draw(view, scene(), gaze, style=style)
    bgr = draw(view, np.ascontiguousarray(scene()[:, :, ::-1]), gaze, "bgr", style=style)
    order = [2, 1, 0, 3][: rgb.shape[2]]
    np.testing.assert_array_equal(bgr[:, :, order], rgb)


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("size", SIZES)
def test_any_size_and_any_layout_in_memory_is_drawn_and_only_read(
    make_gaze, view: str, size: tuple[int, int]
):
    picture = scene(*size)
    columns_first = np.asfortranarray(picture)
    for given in (picture, columns_first):
        given.setflags(write=False)
    for gaze in (make_gaze(IDS, *size), make_gaze([], *size)):
        drawn = draw(view, picture, gaze)
        assert drawn.dtype == np.uint8
        assert drawn.flags.writeable
        np.testing.assert_array_equal(draw(view, columns_first, gaze), drawn)
    if view not in ("scale_rows", "side_by_side"):
        assert drawn.shape[:2] == picture.shape[:2]


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_does_not_change_with_what_was_drawn_before(make_gaze, view: str):
    gaze = make_gaze(IDS, 320, 240)
    first = draw(view, scene(), gaze)
    kept = first.copy()
    draw(view, 255 - scene(), make_gaze([1, 100], 320, 240))
    np.testing.assert_array_equal(first, kept)
    np.testing.assert_array_equal(draw(view, scene(), gaze), first)


def test_an_unknown_view_is_refused(make_gaze):
    with pytest.raises(ValueError, match="overlay, scale_rows"):
        draw("over", scene(), make_gaze([]))


def inner(box: NDArray[np.int32], margin: int = 2) -> tuple[slice, slice]:
    """The pixels of a box within its outline."""
    x0, y0, x1, y1 = box.tolist()
    return slice(y0 + margin, y1 - margin), slice(x0 + margin, x1 - margin)


@pytest.mark.parametrize("opacity", [0.0, 0.35, 1.0])
@pytest.mark.parametrize("scale", range(4))
def test_overlay_tints_a_cell_with_its_scales_colour(make_gaze, scale: int, opacity: float):
    gaze = make_gaze([[3], [19], [68], [264]][scale], 320, 240)
    picture = scene()
    drawn = draw_overlay(Frame(picture), gaze, opacity=opacity, annotate=False)
    (box,) = gaze.boxes
    colour = np.array(SCALE_COLOURS[scale])
    expected = picture[inner(box)] * (1 - opacity) + colour * opacity
    assert np.abs(drawn[inner(box)] - expected).max() <= 1
    assert (drawn[box[1] : box[3], box[0]] == colour).all(), "the outline"
    outside = gaze.mask_image() == 0
    np.testing.assert_array_equal(drawn[outside], picture[outside])


def test_overlay_shows_fine_over_coarse_in_whatever_order_they_were_chosen(make_gaze):
    fine, coarse = 69 + 14 * 3 + 3, 0
    one, other = (
        draw_overlay(Frame(scene()), make_gaze(ids, 320, 240), opacity=1.0, annotate=False)
        for ids in ([fine, coarse], [coarse, fine])
    )
    np.testing.assert_array_equal(one, other)
    box = make_gaze([fine], 320, 240).boxes[0]
    assert (one[inner(box)] == SCALE_COLOURS[3]).all()
    assert (one[30:40, 20:30] == SCALE_COLOURS[0]).all()


def test_opacity_0_leaves_outlines_only(make_gaze):
    gaze = make_gaze(IDS, 320, 240)
    drawn = draw_overlay(Frame(scene()), gaze, opacity=0.0, annotate=False)
    changed = (drawn != scene()).any(axis=2)
    edges = np.zeros_like(changed)
    for x0, y0, x1, y1 in gaze.boxes.tolist():
        for part in (
            (y0, slice(x0, x1)),
            (y1 - 1, slice(x0, x1)),
            (slice(y0, y1), x0),
            (slice(y0, y1), x1 - 1),
        ):
            edges[part] = True
    assert changed.any()
    assert not (changed & ~edges).any()


def test_annotate_writes_into_the_upper_left_corner_alone(make_gaze):
    frame, gaze = Frame(scene(640, 480)), make_gaze([264])
    with_text = draw_overlay(frame, gaze)
    without = draw_overlay(frame, gaze, annotate=False)
    rows, _ = np.nonzero((with_text != without).any(axis=2))
    assert len(rows)
    assert rows.max() < 480 / 5
    small = Frame(scene(95, 95))
    gaze = make_gaze([264], 95, 95)
    np.testing.assert_array_equal(draw_overlay(small, gaze), draw_overlay(small, gaze, annotate=False))


def test_the_caption_says_when_nothing_differs(make_gaze):
    frame = Frame(scene())
    texts = [
        draw_overlay(frame, make_gaze([264], 320, 240, psnr=p, keyframe=k))
        for p, k in [(30.0, False), (float("inf"), False), (30.0, True)]
    ]
    assert (texts[0] != texts[1]).any()
    assert (texts[0] != texts[2]).any()
