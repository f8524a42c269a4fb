"""Tiles: where their windows lie, and that boxes, masks and pictures agree with them to the pixel."""

from fractions import Fraction
from math import ceil, floor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autogaze_ros.gaze import DEFAULT_LAYOUT, Frame, TokenLayout
from autogaze_ros.gaze.sources import GreedySource
from autogaze_ros.gaze.tiling import Tiling, share_out
from autogaze_ros.pipeline import Pipeline
from autogaze_ros.settings import Settings

SIZES = [(640, 480), (1280, 720), (1920, 1080), (1001, 333), (100, 90)]
ALL_IDS = np.arange(DEFAULT_LAYOUT.count)


def every_token(tiling: Tiling) -> tuple[np.ndarray, np.ndarray]:
    tiles = np.repeat(np.arange(tiling.count), DEFAULT_LAYOUT.count)
    return tiles, np.tile(ALL_IDS, tiling.count)


@pytest.mark.parametrize("size", SIZES)
def test_there_are_just_enough_tiles(size: tuple[int, int]):
    for resolution in ("tile_grid", "tile_exact"):
        tiling = Tiling(DEFAULT_LAYOUT, *size, resolution)
        assert (tiling.cols, tiling.rows) == (ceil(size[0] / 224), ceil(size[1] / 224))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("overlap", [0, 32, 50])
@pytest.mark.parametrize("resolution", ["tile_grid", "tile_exact"])
def test_boxes_are_the_pixels_that_cells_touch(size: tuple[int, int], overlap: int, resolution: str):
    """Against exact fractions: the window's corner on the canvas, the cell in it, the canvas on the image."""
    tiling = Tiling(DEFAULT_LAYOUT, *size, resolution, overlap)
    tiles, ids = every_token(tiling)
    boxes = tiling.boxes(tiles, ids)
    stride = 224 - overlap
    for axis, count in ((0, tiling.cols), (1, tiling.rows)):
        length = size[axis]
        canvas = count * stride + overlap
        scale = Fraction(1) if resolution == "tile_exact" else Fraction(length, canvas)
        for index in range(0, len(ids), 7):
            _, grid, row, col = DEFAULT_LAYOUT.table[ids[index]].tolist()
            window = tiles[index] % tiling.cols if axis == 0 else tiles[index] // tiling.cols
            cell = col if axis == 0 else row
            begin = (int(window) * stride + Fraction(cell * 224, grid)) * scale
            end = (int(window) * stride + Fraction((cell + 1) * 224, grid)) * scale
            assert boxes[index, axis] == min(floor(begin), length)
            assert boxes[index, axis + 2] == min(ceil(end), length)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("overlap", [0, 40])
@pytest.mark.parametrize("resolution", ["resize", "tile_grid", "tile_exact"])
def test_each_scale_covers_the_image_without_a_gap(size: tuple[int, int], overlap: int, resolution: str):
    tiling = Tiling(DEFAULT_LAYOUT, *size, resolution, overlap)
    tiles, ids = every_token(tiling)
    for scale in range(4):
        mine = DEFAULT_LAYOUT.table[ids, 0] == scale
        covered = np.zeros((size[1], size[0]), bool)
        for x0, y0, x1, y1 in tiling.boxes(tiles[mine], ids[mine]).tolist():
            covered[y0:y1, x0:x1] = True
        assert covered.all()


def test_a_box_does_not_drift_from_tile_to_tile():
    """The last tile's last cell ends on the image's last pixel, at any number of tiles."""
    for width in (1920, 1001, 7777):
        tiling = Tiling(DEFAULT_LAYOUT, width, 224, "tile_grid")
        assert tiling.boxes([tiling.count - 1], [264])[0, 2] == width
        starts = tiling.boxes(np.arange(tiling.count), np.full(tiling.count, 69))[:, 0]
        np.testing.assert_array_equal(starts, [tile * width // tiling.cols for tile in range(tiling.cols)])


def test_tile_exact_windows_hold_the_original_pixels_and_repeat_the_edge():
    picture = np.random.default_rng(0).integers(0, 256, (333, 1001, 3), np.uint8)
    tiling = Tiling(DEFAULT_LAYOUT, 1001, 333, "tile_exact")
    windows = tiling.cut(Frame(picture))
    assert len(windows) == 10
    np.testing.assert_array_equal(windows[1].pixels, picture[:224, 224:448])
    np.testing.assert_array_equal(windows[9].pixels[:109, :105], picture[224:, 896:])
    assert (windows[9].pixels[109:, 0] == picture[332, 896]).all()
    assert (windows[9].pixels[:109, 105:] == picture[224:, 1000][:, None]).all()


def test_cells_on_the_repeated_edge_are_not_published():
    picture = np.random.default_rng(0).integers(0, 256, (100, 230, 3), np.uint8)
    gaze = Pipeline(Settings(resolution="tile_exact", keyframe_budget=265, target_psnr=0.0)).step(
        Frame(picture)
    )
    assert gaze.tiling.count == 2
    assert len(gaze) > 0
    assert (gaze.boxes[:, 2] > gaze.boxes[:, 0]).all()
    assert (gaze.boxes[:, 3] > gaze.boxes[:, 1]).all()
    assert gaze.boxes[:, 2].max() == 230
    assert gaze.boxes[:, 3].max() == 100


@pytest.mark.parametrize("resolution", ["tile_grid", "tile_exact"])
@pytest.mark.parametrize("overlap", [0, 48])
def test_windows_put_together_are_the_frame(resolution: str, overlap: int):
    picture = np.random.default_rng(0).integers(0, 256, (333, 1001, 3), np.uint8)
    tiling = Tiling(DEFAULT_LAYOUT, 1001, 333, resolution, overlap)
    whole = tiling.assemble([np.ascontiguousarray(window.pixels) for window in tiling.cut(Frame(picture))])
    assert whole.shape == picture.shape
    if resolution == "tile_exact":
        np.testing.assert_array_equal(whole, picture)
    else:  # enlarged and made smaller again
        smooth = Tiling(DEFAULT_LAYOUT, 1001, 333, resolution, overlap)
        ramp = np.broadcast_to((np.arange(1001) // 4).astype(np.uint8)[None, :, None], (333, 1001, 3))
        back = smooth.assemble([np.ascontiguousarray(w.pixels) for w in smooth.cut(Frame(ramp))])
        assert np.abs(back.astype(int) - ramp).max() <= 2


@pytest.mark.parametrize("resolution", ["tile_grid", "tile_exact"])
def test_what_two_tiles_chose_in_their_overlap_is_there_once(resolution: str):
    """With an overlap of whole finest cells, cells of neighbours coincide."""
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (224, 400, 3), np.uint8)
    settings = Settings(resolution=resolution, tile_overlap=48, keyframe_budget=265, target_psnr=0.0)
    gaze = Pipeline(settings).step(Frame(picture))
    assert gaze.tiling.count > 1
    assert len(np.unique(gaze.boxes, axis=0)) == len(gaze)
    marked = np.zeros((224, 400), bool)
    for x0, y0, x1, y1 in gaze.boxes.tolist():
        marked[y0:y1, x0:x1] = True
    assert gaze.gaze_ratio == marked.mean()
    np.testing.assert_array_equal(gaze.mask_image() > 0, marked)


@pytest.mark.parametrize("source", ["greedy", "patch_diff"])
def test_bitmaps_lay_the_tiles_side_by_side(source: str):
    rng = np.random.default_rng(0)
    pipeline = Pipeline(Settings(source=source, resolution="tile_grid", keyframe_budget=30, target_psnr=0.0))
    gaze = pipeline.step(Frame(rng.integers(0, 256, (400, 600, 3), np.uint8)))
    bitmaps = gaze.bitmaps()
    assert [bitmap.shape for bitmap in bitmaps] == [(2 * g, 3 * g) for g in (2, 4, 7, 14)]
    assert sum(int(bitmap.sum()) for bitmap in bitmaps) == len(gaze)
    for tile, token in zip(gaze.tiles.tolist(), gaze.ids.tolist(), strict=True):
        scale, grid, row, col = DEFAULT_LAYOUT.table[token].tolist()
        assert bitmaps[scale][tile // 3 * grid + row, tile % 3 * grid + col]
    effective = gaze.mask_image("effective") > 0
    assert (effective | ~(gaze.mask_image() > 0)).all(), "effective covers every token's area"


def test_a_tile_streams_by_itself():
    """What happens in one tile does not touch another: the same tile elsewhere gets the same tokens."""
    rng = np.random.default_rng(3)
    quiet = rng.integers(0, 256, (224, 224, 3), np.uint8)
    frames = []
    for step in range(4):
        busy = np.roll(quiet, 16 * step, axis=1)
        frames.append((np.hstack([quiet, busy]), np.hstack([busy, quiet])))
    chosen = []
    for side in (0, 1):
        pipeline = Pipeline(Settings(resolution="tile_exact", budget=9, cut_threshold=0.0))
        gazes = [pipeline.step(Frame(pair[side])) for pair in frames]
        chosen.append([gaze.ids[gaze.tiles == 1 - side].tolist() for gaze in gazes])
    assert chosen[0] == chosen[1]
    assert any(chosen[0][1:])


def test_a_total_budget_goes_where_the_error_is():
    picture = np.full((224, 672, 3), 90, np.uint8)
    pipeline = Pipeline(Settings(resolution="tile_exact", total_budget=24, budget=20, target_psnr=0.0))
    pipeline.step(Frame(picture))
    picture = picture.copy()
    picture[:, 448:] = np.random.default_rng(0).integers(60, 120, (224, 224, 3))
    gaze = pipeline.step(Frame(picture))
    assert len(gaze) <= 24
    assert np.bincount(gaze.tiles, minlength=3).argmax() == 2


@given(
    errors=st.lists(st.floats(0, 1e9), min_size=1, max_size=45),
    total=st.integers(0, 2000),
    most=st.integers(1, 265),
)
def test_sharing_out_spends_what_it_may_and_no_more(errors: list[float], total: int, most: int):
    budgets = share_out(total, np.array(errors), most)
    assert all(0 <= budget <= most for budget in budgets)
    assert all(budget == 0 for budget, error in zip(budgets, errors, strict=True) if error == 0)
    assert sum(budgets) == min(total, most * sum(error > 0 for error in errors))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 10), "at least 1 x 1"),
        ((10, 10, "tiles"), "resolution"),
        ((10, 10, "tile_grid", 112), "overlap"),
        ((10, 10, "tile_grid", -1), "overlap"),
    ],
)
def test_bad_tilings_are_refused(arguments: tuple, message: str):
    with pytest.raises(ValueError, match=message):
        Tiling(DEFAULT_LAYOUT, *arguments)


def test_bad_tiles_and_frames_are_refused():
    tiling = Tiling(TokenLayout(), 500, 300, "tile_grid")
    with pytest.raises(ValueError, match="tile index"):
        tiling.boxes([tiling.count], [0])
    with pytest.raises(ValueError, match="tiling of 500 x 300"):
        tiling.cut(Frame(np.zeros((300, 400, 3), np.uint8)))


@pytest.mark.parametrize("size", [(100, 90), (1, 1), (230, 100)])
@pytest.mark.parametrize("resolution", ["tile_grid", "tile_exact"])
@pytest.mark.parametrize("source", ["greedy", "patch_diff"])
def test_small_frames_are_tiled_too(size: tuple[int, int], resolution: str, source: str):
    picture = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    gaze = Pipeline(Settings(source=source, resolution=resolution, target_psnr=0.0)).step(Frame(picture))
    assert 0 < gaze.gaze_ratio <= 1
    for style in ("native", "deduplicated", "effective"):
        assert gaze.mask_image(style).shape == (size[1], size[0])
        assert any(bitmap.any() for bitmap in gaze.bitmaps(style))


def test_a_smaller_frame_lets_go_of_what_a_larger_one_needed():
    pipeline = Pipeline(Settings(resolution="tile_exact", budget=1, keyframe_budget=1))
    pipeline.step(Frame(np.zeros((700, 900, 3), np.uint8)))
    pipeline.step(Frame(np.zeros((200, 200, 3), np.uint8)))
    assert len(pipeline._receivers) == len(pipeline._sources) == 1


def test_an_overlap_that_the_sources_window_does_not_allow_is_refused():
    settings = Settings(working_size=896, tile_overlap=400, resolution="tile_exact")
    with pytest.raises(ValueError, match="tile_overlap does not fit the source greedy"):
        Pipeline(settings, GreedySource(DEFAULT_LAYOUT))


def test_tiles_share_a_keyframes_budget():
    picture = np.random.default_rng(0).integers(0, 256, (448, 448, 3), np.uint8)
    settings = Settings(resolution="tile_exact", budget=20, keyframe_budget=198, target_psnr=0.0)
    gaze = Pipeline(settings).step(Frame(picture))
    np.testing.assert_array_equal(np.bincount(gaze.tiles), [49, 49, 49, 49])
