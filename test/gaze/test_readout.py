"""Read-out: the tokens of other models that a gaze means."""

from math import ceil, floor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autogaze_ros.gaze import Frame, GazeFrame, TokenLayout
from autogaze_ros.gaze.readout import (
    batch_tokens,
    block_causal_mask,
    boxes_to_cells,
    frame_tokens,
    pyramid_tokens,
    sparse_patches,
    token_coordinates,
    video_tokens,
)
from autogaze_ros.gaze.receiver import averaged_patches
from autogaze_ros.pipeline import Pipeline
from autogaze_ros.settings import Settings


def as_tensor(values):
    return pytest.importorskip("torch", reason="torch comes from pip only").as_tensor(values)


BOTH = pytest.mark.parametrize("kind", [np.asarray, as_tensor], ids=["numpy", "torch"])


def boxes() -> st.SearchStrategy[list[tuple[float, float, float, float]]]:
    edge = st.floats(0, 1)
    pair = st.tuples(edge, edge).map(sorted)
    return st.lists(st.tuples(pair, pair).map(lambda p: (p[0][0], p[1][0], p[0][1], p[1][1])), max_size=8)


@given(boxes(), st.integers(1, 20), st.integers(1, 20), st.integers(0, 2))
def test_boxes_touch_the_cells_of_the_definition(given_boxes, rows: int, cols: int, dilation: int):
    expected: dict[tuple[int, int], None] = {}
    for x0, y0, x1, y1 in given_boxes:
        for row in range(floor(y0 * rows + 1e-6) - dilation, ceil(y1 * rows - 1e-6) + dilation):
            for col in range(floor(x0 * cols + 1e-6) - dilation, ceil(x1 * cols - 1e-6) + dilation):
                if 0 <= row < rows and 0 <= col < cols:
                    expected[row, col] = None
    cells = boxes_to_cells(np.array(given_boxes).reshape(-1, 4), (rows, cols), dilation)
    assert [tuple(cell) for cell in cells.tolist()] == list(expected)


@BOTH
def test_a_box_that_ends_on_an_edge_stays_in_its_cells(kind):
    cells = boxes_to_cells(kind([[0.0, 0.0, 0.5, 1 / 3]]), (3, 2))
    assert cells.tolist() == [[0, 0]]
    assert boxes_to_cells(kind([[0.0, 0.0, 0.5, 1 / 3]]), (3, 2), dilation=1).tolist() == [
        [0, 0],
        [0, 1],
        [1, 0],
        [1, 1],
    ]
    assert boxes_to_cells(kind([[0.0, 0.0, 1.0, 1.0]]), (3, 2), cap=4).tolist() == [
        [0, 0],
        [0, 1],
        [1, 0],
        [1, 1],
    ]


@pytest.mark.parametrize("grid", [14, 28, 56, 70, 112, 224])
def test_every_token_touches_the_cells_that_whole_numbers_say(grid: int):
    """No rounding may add a cell."""
    layout = TokenLayout()
    for size in (224, 448, 896, 1120, 1792):
        for x0, y0, x1, y1 in layout.boxes(np.arange(layout.count), size, size).tolist():
            cells = boxes_to_cells(np.array([[x0, y0, x1, y1]]) / size, (grid, grid))
            rows, cols = -(-y1 * grid // size) - y0 * grid // size, -(-x1 * grid // size) - x0 * grid // size
            assert len(cells) == rows * cols


def test_unit_boxes_keep_the_boxes_exactly(looked):
    _, gaze = looked
    np.testing.assert_allclose(gaze.unit_boxes * np.array([500, 300] * 2), gaze.boxes, rtol=1e-14)


@BOTH
def test_video_tokens_count_through_tubelets(kind):
    cells = [kind([[0, 1], [2, 0]]), kind([[2, 0]]), kind(np.empty((0, 2), int)), kind([[1, 1]])]
    tokens = video_tokens(cells, (3, 2), tubelet=2)
    assert tokens.tolist() == [1, 4, 6 + 3]
    assert token_coordinates(tokens, (3, 2), batch=5).tolist() == [[5, 0, 0, 1], [5, 0, 2, 0], [5, 1, 1, 1]]
    assert video_tokens(cells, (3, 2)).tolist() == [1, 4, 10, 21]


@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 4), st.integers(0, 10**6))
def test_tokens_and_coordinates_are_each_others_inverse(rows: int, cols: int, frames: int, seed: int):
    rng = np.random.default_rng(seed)
    cells = [rng.integers(0, (rows, cols), (rng.integers(0, 5), 2)) for _ in range(frames)]
    where = token_coordinates(video_tokens(cells, (rows, cols)), (rows, cols))
    assert {tuple(place) for place in where[:, 1:].tolist()} == {
        (t, *cell) for t, places in enumerate(cells) for cell in places.tolist()
    }


@BOTH
def test_batches_are_padded_and_say_so(kind):
    tokens, padded = batch_tokens([kind([3, 1, 2]), kind([7])], fill=-1)
    assert tokens.tolist() == [[3, 1, 2], [7, -1, -1]]
    assert padded.tolist() == [[False] * 3, [False, True, True]]


@BOTH
def test_pyramid_tokens_weigh_by_density_and_keep_the_densest(kind):
    features = np.arange(4 * 4 * 2, dtype=np.float32).reshape(4, 4, 2)
    mask = np.zeros((8, 8), bool)
    mask[:4, :4] = True  # the upper left quarter
    mask[4, 4] = True
    pooled = pyramid_tokens(kind(features), kind(mask), [(1, 1), (2, 2)], top_k=3)
    assert pooled.places.tolist() == [[1, 0, 0], [0, 0, 0], [1, 1, 1]]
    np.testing.assert_allclose(pooled.weights.tolist(), [1, 17 / 64, 1 / 16])
    np.testing.assert_allclose(pooled.tokens[0].tolist(), features[:2, :2].mean(axis=(0, 1)))
    np.testing.assert_allclose(pooled.tokens[1].tolist(), features.mean(axis=(0, 1)) * 17 / 64)


def test_features_of_any_float_type_pool_alike():
    torch = pytest.importorskip("torch", reason="torch comes from pip only")
    generator = np.random.default_rng(2)
    features = generator.normal(size=(8, 8, 3)).astype(np.float32)
    mask = generator.random((16, 16)).astype(np.float32)
    grids = [(1, 1), (2, 2), (8, 4)]
    wanted = pyramid_tokens(features, mask, grids, top_k=20)
    found = pyramid_tokens(torch.from_numpy(features), torch.from_numpy(mask), grids, top_k=20)
    for name in ("tokens", "weights", "places"):
        np.testing.assert_array_equal(getattr(found, name).numpy(), getattr(wanted, name))
    half = torch.from_numpy(features).bfloat16()
    low = pyramid_tokens(half, torch.from_numpy(mask).bfloat16(), grids, top_k=20)
    assert low.tokens.dtype == torch.float32
    again = pyramid_tokens(half.float().numpy(), torch.from_numpy(mask).bfloat16().float().numpy(), grids, 20)
    np.testing.assert_array_equal(low.tokens.numpy(), again.tokens)


def test_gradients_flow_through_pooled_features():
    torch = pytest.importorskip("torch", reason="torch comes from pip only")
    features = torch.zeros(4, 4, 2, requires_grad=True)
    mask = np.zeros((8, 8), bool)
    mask[:4, :4] = True
    pyramid_tokens(features, mask, [(2, 2)], top_k=1).tokens.sum().backward()
    expected = np.zeros((4, 4, 2))
    expected[:2, :2] = 1 / 4
    np.testing.assert_allclose(features.grad.numpy(), expected)


@pytest.fixture(scope="module")
def looked() -> tuple[np.ndarray, GazeFrame]:
    picture = np.random.default_rng(0).integers(0, 256, (300, 500, 3), np.uint8)
    picture[:150] = 80
    return picture, Pipeline(Settings(keyframe_budget=30, target_psnr=0.0)).step(Frame(picture))


@BOTH
def test_sparse_patches_are_what_the_tokens_carry(kind, looked):
    picture, gaze = looked
    seen = sparse_patches(kind(picture), gaze, pad_to=40)
    working = Frame(picture).working(224)
    for index, token in enumerate(gaze.ids.tolist()):
        scale, grid, row, col = gaze.layout.table[token].tolist()
        expected = averaged_patches(working, gaze.layout, grid)[row, col]
        np.testing.assert_array_equal(np.asarray(seen.patches[index]), expected)
        assert int(seen.scales[index]) == scale
    np.testing.assert_array_equal(np.asarray(seen.ids[: len(gaze)]), gaze.ids)
    np.testing.assert_allclose(np.asarray(seen.positions[: len(gaze)]), gaze.cells)
    assert seen.padded.tolist() == [False] * len(gaze) + [True] * (40 - len(gaze))
    assert not np.asarray(seen.patches[len(gaze) :]).any()


def test_finest_patches_are_the_pixels_themselves(looked):
    picture, gaze = looked
    working = Frame(picture).working(224)
    for patch, scale, token in zip(
        *(getattr(sparse_patches(picture, gaze), n) for n in ("patches", "scales", "ids")), strict=True
    ):
        if scale == 3:
            row, col = divmod(int(token) - 69, 14)
            np.testing.assert_array_equal(patch, working[16 * row : 16 * row + 16, 16 * col : 16 * col + 16])


@BOTH
def test_the_block_causal_mask_lets_frames_see_themselves_and_the_past(kind):
    allowed = np.asarray(block_causal_mask(kind([0, 0, 1, 2, 2]), kind([False, False, False, False, True])))
    expected = np.array(
        [[1, 1, 0, 0, 0], [1, 1, 0, 0, 0], [1, 1, 1, 0, 0], [1, 1, 1, 1, 0], [0, 0, 0, 0, 1]], bool
    )
    np.testing.assert_array_equal(allowed, expected)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: boxes_to_cells(np.zeros((1, 4)), (0, 3)), "grid"),
        (lambda: boxes_to_cells(np.array([[0, 0, 1.1, 1]]), (3, 3)), "within 0..1"),
        (lambda: boxes_to_cells(np.array([[0.5, 0, 0.4, 1]]), (3, 3)), "x0 <= x1"),
        (lambda: boxes_to_cells(np.array([[0, 0, np.nan, 1]]), (3, 3)), "within 0..1"),
        (lambda: boxes_to_cells(np.zeros((1, 4)), (3, 3), dilation=-1), "negative"),
        (lambda: frame_tokens(np.array([[3, 0]]), (3, 3)), "grid"),
        (lambda: video_tokens([np.zeros((1, 2), int)] * 3, (2, 2), tubelet=2), "divide exactly"),
        (lambda: video_tokens([], (2, 2)), "divide exactly"),
        (lambda: token_coordinates(np.array([-1]), (2, 2)), "negative"),
        (
            lambda: pyramid_tokens(np.zeros((4, 4, 1)), np.zeros((8, 8)), [(3, 2)]),
            "divide the 4 x 4 image tokens",
        ),
        (lambda: pyramid_tokens(np.zeros((4, 4, 1)), np.zeros((9, 9)), [(2, 2)]), "divide the 9 x 9 mask"),
        (lambda: pyramid_tokens(np.zeros((4, 4, 1)), np.zeros((8, 8)), [(2, 2)], top_k=0), "top_k"),
        (lambda: batch_tokens([]), "at least one"),
    ],
)
def test_geometry_that_does_not_fit_is_an_error(call, message: str):
    with pytest.raises(ValueError, match=message):
        call()


def test_patches_of_another_image_or_too_many_are_an_error(looked):
    picture, gaze = looked
    with pytest.raises(ValueError, match="500 x 300"):
        sparse_patches(picture[:, 1:], gaze)
    with pytest.raises(ValueError, match="pad_to"):
        sparse_patches(picture, gaze, pad_to=3)
    for part in (picture, picture[:100, :150]):  # several tiles, and one
        tiled = Pipeline(Settings(resolution="tile_grid")).step(Frame(part))
        with pytest.raises(ValueError, match="tiled"):
            sparse_patches(part, tiled)
