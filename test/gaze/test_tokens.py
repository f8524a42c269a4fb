"""Token ids, cells and boxes: one numbering, and boxes that are exact for every image size."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autogaze_ros.gaze import DEFAULT_LAYOUT, TokenLayout

PADDING = 265
layouts = st.lists(st.integers(1, 9), min_size=1, max_size=4, unique=True).map(
    lambda grids: TokenLayout(tuple(sorted(grids)))
)


def test_default_layout_is_the_models():
    assert DEFAULT_LAYOUT.grids == (2, 4, 7, 14)
    assert DEFAULT_LAYOUT.offsets == (0, 4, 20, 69)
    assert DEFAULT_LAYOUT.count == PADDING
    assert DEFAULT_LAYOUT.size == 224


@given(layouts)
def test_ids_count_scale_by_scale_and_row_by_row(layout: TokenLayout):
    expected = [(s, g, r, c) for s, g in enumerate(layout.grids) for r in range(g) for c in range(g)]
    places = layout.locate(np.arange(layout.count))
    assert [tuple(place) for place in places.tolist()] == expected
    scale, _, row, col = places.T
    assert layout.token_id(scale, row, col).tolist() == list(range(layout.count))
    assert layout.token_id(0, 0, 0) == 0


@pytest.mark.parametrize(
    ("width", "height"), [(1001, 333), (1, 1), (13, 7), (224, 224), (1920, 1080), (3, 5000)]
)
def test_boxes_are_rounded_outwards_exactly(width: int, height: int):
    layout = DEFAULT_LAYOUT
    expected = [
        (
            math.floor(Fraction(col * width, grid)),
            math.floor(Fraction(row * height, grid)),
            math.ceil(Fraction((col + 1) * width, grid)),
            math.ceil(Fraction((row + 1) * height, grid)),
        )
        for _, grid, row, col in layout.table.tolist()
    ]
    boxes = layout.boxes(np.arange(layout.count), width, height)
    assert boxes.dtype == np.int32
    assert [tuple(box) for box in boxes.tolist()] == expected
    assert (boxes[:, 2:] > boxes[:, :2]).all(), "an empty box"
    for scale in range(len(layout.grids)):  # each scale alone leaves no pixel out
        seen = np.zeros((height, width), bool)
        for x0, y0, x1, y1 in boxes[layout.table[:, 0] == scale].tolist():
            seen[y0:y1, x0:x1] = True
        assert seen.all()


@given(st.integers(1, 10**6), st.integers(1, 10**6), st.integers(0, PADDING - 1))
def test_a_box_holds_its_cell_and_no_whole_pixel_more(width: int, height: int, token: int):
    (x0, y0, x1, y1) = DEFAULT_LAYOUT.boxes([token], width, height)[0].tolist()
    _, grid, row, col = DEFAULT_LAYOUT.locate([token])[0].tolist()
    assert 0 <= x0 * grid <= col * width < (x0 + 1) * grid
    assert (x1 - 1) * grid < (col + 1) * width <= x1 * grid <= width * grid + grid - 1
    assert 0 <= y0 * grid <= row * height < (y0 + 1) * grid
    assert (y1 - 1) * grid < (row + 1) * height <= y1 * grid


def test_cells_are_the_exact_squares():
    cells = DEFAULT_LAYOUT.cells(np.arange(DEFAULT_LAYOUT.count))
    assert cells.dtype == np.float32
    _, grid, row, col = DEFAULT_LAYOUT.table.astype(np.float64).T
    expected = np.stack([(2 * col + 1) / (2 * grid), (2 * row + 1) / (2 * grid), 1 / grid, 1 / grid], axis=1)
    np.testing.assert_allclose(cells, expected, rtol=2**-23)


@pytest.mark.parametrize("bad", [PADDING, -1, 10**6])
@pytest.mark.parametrize(
    "use",
    [
        lambda ids: DEFAULT_LAYOUT.locate(ids),
        lambda ids: DEFAULT_LAYOUT.cells(ids),
        lambda ids: DEFAULT_LAYOUT.boxes(ids, 640, 480),
    ],
    ids=["locate", "cells", "boxes"],
)
def test_padding_and_other_strangers_are_refused(use, bad: int):
    with pytest.raises(ValueError, match=f"token id {bad} is outside 0..264"):
        use([0, bad, 264])


@pytest.mark.parametrize("place", [(4, 0, 0), (-1, 0, 0), (0, 2, 0), (0, 0, 2), (3, -1, 0), (3, 0, 14)])
def test_places_outside_the_grids_have_no_id(place: tuple[int, int, int]):
    with pytest.raises(ValueError, match=r"scale index|outside"):
        DEFAULT_LAYOUT.token_id(*place)


def test_no_ids_are_no_boxes():
    assert DEFAULT_LAYOUT.boxes([], 640, 480).shape == (0, 4)
    assert DEFAULT_LAYOUT.cells([]).shape == (0, 4)


def test_boxes_handed_out_are_the_callers_own():
    DEFAULT_LAYOUT.boxes([0], 640, 480)[:] = -1
    assert DEFAULT_LAYOUT.boxes([0], 640, 480).tolist() == [[0, 0, 320, 240]]


@pytest.mark.parametrize("grids", [(), (0, 2), (2, 2), (4, 2), (-1,)])
def test_grids_must_increase(grids: tuple[int, ...]):
    with pytest.raises(ValueError, match="grids"):
        TokenLayout(grids)


def test_a_patch_has_pixels():
    with pytest.raises(ValueError, match="patch"):
        TokenLayout(patch=0)


@pytest.mark.parametrize("size", [(0, 4), (4, 0)])
def test_an_image_has_pixels(size: tuple[int, int]):
    with pytest.raises(ValueError, match="at least 1 x 1"):
        DEFAULT_LAYOUT.boxes([0], *size)
