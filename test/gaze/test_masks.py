"""Masks against pixels marked one box at a time."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from autogaze_ros.gaze import DEFAULT_LAYOUT, MASK_STYLES, cover, deduplicate
from autogaze_ros.gaze.masks import effective_bitmap

SIZES = [(1, 1), (13, 7), (64, 48), (101, 33), (224, 224), (300, 5)]
id_lists = st.lists(st.integers(0, DEFAULT_LAYOUT.count - 1), unique=True, max_size=30)
sizes = st.sampled_from(SIZES)


@st.composite
def box_sets(draw) -> tuple[NDArray[np.int32], int, int]:
    width, height = draw(st.integers(1, 24)), draw(st.integers(1, 24))
    boxes = []
    for _ in range(draw(st.integers(0, 8))):
        x0, y0 = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
        boxes.append((x0, y0, draw(st.integers(x0 + 1, width)), draw(st.integers(y0 + 1, height))))
    return np.array(boxes, np.int32).reshape(-1, 4), width, height


def counted(boxes, width: int, height: int) -> NDArray[np.int64]:
    """How many boxes lie over each pixel, one box after the other."""
    counts = np.zeros((height, width), np.int64)
    for x0, y0, x1, y1 in np.asarray(boxes).tolist():
        counts[y0:y1, x0:x1] += 1
    return counts


@given(box_sets())
def test_coverage_is_that_of_the_pixels(case):
    boxes, width, height = case
    coverage, pixels = cover(boxes, width, height), counted(boxes, width, height)
    np.testing.assert_array_equal(coverage.to_pixels(coverage.counts.astype(np.uint8)), pixels)
    np.testing.assert_array_equal(coverage.image(), np.where(pixels > 0, 255, 0))
    assert coverage.ratio == pytest.approx((pixels > 0).mean(), abs=1e-12)
    for box, (x0, y0, x1, y1) in zip(boxes.tolist(), coverage.spans.tolist(), strict=True):
        edges = coverage.x_edges[x0], coverage.y_edges[y0], coverage.x_edges[x1], coverage.y_edges[y1]
        assert tuple(box) == edges


@given(box_sets())
def test_rectangles_tile_the_marked_pixels_exactly(case):
    boxes, width, height = case
    coverage, pixels = cover(boxes, width, height), counted(boxes, width, height)
    drawn = np.full((height, width), -1)
    for x0, y0, x1, y1, value in coverage.rectangles(np.where(coverage.counts > 0, coverage.counts, -1)):
        assert x0 < x1
        assert y0 < y1
        assert (drawn[y0:y1, x0:x1] == -1).all(), "two rectangles overlap"
        drawn[y0:y1, x0:x1] = value
    np.testing.assert_array_equal(drawn, np.where(pixels > 0, pixels, -1))


@pytest.mark.parametrize(
    "box", [(-1, 0, 2, 2), (0, -1, 2, 2), (0, 0, 11, 2), (0, 0, 2, 9), (3, 0, 3, 2), (0, 5, 2, 4)]
)
def test_boxes_outside_the_image_or_empty_are_refused(box):
    with pytest.raises(ValueError, match="inside the 10 x 8 image"):
        cover(np.array([(0, 0, 10, 8), box]), 10, 8)


@settings(max_examples=60)
@given(id_lists, sizes)
def test_deduplicated_has_the_pixels_of_native_with_no_cell_too_many(ids, size):
    ids = np.array(ids, np.int32)
    boxes = DEFAULT_LAYOUT.boxes(ids, *size)
    keep = deduplicate(boxes, *size)
    union = counted(boxes, *size) > 0
    np.testing.assert_array_equal(counted(boxes[keep], *size) > 0, union)
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    seen = np.zeros_like(union)
    for index in sorted(range(len(ids)), key=lambda i: -areas[i]):
        x0, y0, x1, y1 = boxes[index].tolist()
        assert keep[index] == (not seen[y0:y1, x0:x1].all())
        seen[y0:y1, x0:x1] = True


@settings(max_examples=60)
@given(id_lists, sizes)
def test_effective_covers_every_tokens_area_and_no_cell_beyond(make_gaze, ids, size):
    grid = effective_bitmap(DEFAULT_LAYOUT, ids)
    expected = np.zeros((14, 14), bool)
    for _, g, row, col in DEFAULT_LAYOUT.locate(ids).tolist():
        for r in range(14):
            for c in range(14):  # the open intervals [r, r + 1) / 14 and [row, row + 1) / g meet
                meets_row = r * g < (row + 1) * 14 and row * 14 < (r + 1) * g
                meets_col = c * g < (col + 1) * 14 and col * 14 < (c + 1) * g
                expected[r, c] |= meets_row and meets_col
    np.testing.assert_array_equal(grid, expected)
    gaze = make_gaze(ids, *size)
    pixels = counted(gaze.styled_boxes("effective")[0], *size) > 0
    assert pixels[counted(gaze.boxes, *size) > 0].all()


def test_a_token_of_the_coarsest_scale_is_49_of_the_finest_cells():
    mask = effective_bitmap(DEFAULT_LAYOUT, [3])
    assert mask.sum() == 49
    assert mask[7:, 7:].all()


@settings(max_examples=60)
@given(id_lists, sizes, st.sampled_from(MASK_STYLES))
def test_bitmaps_mark_the_cells_that_are_drawn_and_survive_packing(make_gaze, ids, size, style):
    gaze = make_gaze(ids, *size)
    layers = gaze.bitmaps(style)
    grids = [14] if style == "effective" else list(DEFAULT_LAYOUT.grids)
    assert [layer.shape for layer in layers] == [(grid, grid) for grid in grids]
    assert all(layer.dtype == bool for layer in layers)
    marked = [
        int(DEFAULT_LAYOUT.token_id(DEFAULT_LAYOUT.grids.index(len(layer)), row, col))
        for layer in layers
        for row, col in np.argwhere(layer).tolist()
    ]
    if style == "native":
        assert marked == sorted(ids)
    boxes, scales = gaze.styled_boxes(style)
    expected = zip(
        DEFAULT_LAYOUT.boxes(marked, *size).tolist(),
        DEFAULT_LAYOUT.locate(marked)[:, 0].tolist(),
        strict=True,
    )
    assert sorted(zip(boxes.tolist(), scales.tolist(), strict=True)) == sorted(expected)
    assert scales.tolist() == sorted(scales.tolist()), "not coarse to fine"
    for layer in layers:
        bits = np.packbits(layer)
        assert len(bits) == -(-layer.size // 8)
        unpacked = np.unpackbits(bits, count=layer.size).reshape(layer.shape)
        np.testing.assert_array_equal(unpacked.astype(bool), layer)


@pytest.mark.parametrize("style", ["", "Native", "all"])
def test_an_unknown_style_is_refused(make_gaze, style: str):
    gaze = make_gaze([0, 77])
    for use in (gaze.bitmaps, gaze.styled_boxes):
        with pytest.raises(ValueError, match="native, deduplicated, effective"):
            use(style)


@pytest.mark.parametrize("style", MASK_STYLES)
@pytest.mark.parametrize("size", [(1001, 333), (1, 1), (13, 7)])
def test_a_gazes_mask_image_and_ratios_are_those_of_its_pixels(make_gaze, style, size):
    gaze = make_gaze([2, 21, 5, 264, 150, 69], *size)
    pixels = counted(gaze.styled_boxes(style)[0], *size) > 0
    np.testing.assert_array_equal(gaze.mask_image(style), np.where(pixels, 255, 0))
    assert gaze.mask_image(style).dtype == np.uint8
    union = counted(gaze.boxes, *size) > 0
    assert gaze.gaze_ratio == pytest.approx(union.mean(), abs=1e-12)
    assert gaze.token_ratio == 6 / 265
    assert gaze.update_ratio == gaze.gaze_ratio
    assert make_gaze([2], *size, keyframe=True).update_ratio == 1


def test_a_gaze_at_nothing_covers_nothing(make_gaze):
    gaze = make_gaze([])
    assert (len(gaze), gaze.token_ratio, gaze.gaze_ratio) == (0, 0, 0)
    assert not gaze.mask_image().any()
    assert not any(layer.any() for style in MASK_STYLES for layer in gaze.bitmaps(style))
    assert np.isnan(gaze.predicted_loss)


def test_a_gazes_losses(make_gaze):
    gaze = make_gaze([1, 2], predicted_losses=np.array([0.5, 0.25], np.float32), psnr=20.0)
    assert gaze.predicted_loss == 0.25
    assert gaze.measured_loss == pytest.approx(0.1)
    assert make_gaze([1], psnr=float("inf")).measured_loss == 0
