"""Gazes to messages and messages to NumPy, without a node."""

from __future__ import annotations

import array

import numpy as np
import pytest
from autogaze_ros.msg import FixationArray, GazeMask, MaskLayer
from std_msgs.msg import Header

from autogaze_ros.gaze import Frame
from autogaze_ros.pipeline import Pipeline
from autogaze_ros.ros.messages import (
    FIXATION_DTYPE,
    fixations_from_numpy,
    fixations_to_numpy,
    mask_layers_from_numpy,
    mask_message,
    mask_to_numpy,
    mask_to_pixels,
)
from autogaze_ros.settings import Settings


def test_every_field_of_a_fixation_is_in_the_array() -> None:
    fields = FixationArray(fixations=fixations_from_numpy(np.zeros(1, FIXATION_DTYPE))).fixations[0]
    assert list(FIXATION_DTYPE.names) == list(fields.get_fields_and_field_types())
    kinds = {"float": np.float32} | {f"uint{n}": getattr(np, f"uint{n}") for n in (8, 16, 32)}
    for name, kind in fields.get_fields_and_field_types().items():
        assert FIXATION_DTYPE[name] == kinds[kind], name


def test_numpy_to_fixations_and_back() -> None:
    rows = np.zeros(3, FIXATION_DTYPE)
    for place, name in enumerate(FIXATION_DTYPE.names):
        rows[name] = [place, place + 50, 200] if FIXATION_DTYPE[name].kind == "u" else [0.1, np.nan, np.inf]
    rows["x1"][2] = 2**32 - 1
    again = fixations_to_numpy(FixationArray(fixations=fixations_from_numpy(rows)))
    assert again.dtype == FIXATION_DTYPE
    assert again.tobytes() == rows.tobytes()


def test_no_fixation_at_all() -> None:
    rows = fixations_to_numpy(FixationArray())
    assert rows.shape == (0,)
    assert rows.dtype == FIXATION_DTYPE
    assert fixations_from_numpy(rows) == []


def test_masks_and_back() -> None:
    noise = np.random.default_rng(1)
    bitmaps = [noise.random(shape) < 0.5 for shape in ((1, 1), (2, 2), (7, 7), (14, 14), (3, 11))]
    message = GazeMask(layers=mask_layers_from_numpy(bitmaps))
    for sent, back in zip(bitmaps, mask_to_numpy(message), strict=True):
        assert back.dtype == bool
        assert np.array_equal(sent, back)


def test_bits_are_packed_as_the_message_says() -> None:
    bitmap = np.zeros((3, 3), bool)
    bitmap[0, 0] = bitmap[2, 2] = True  # bits 0 and 8: the first of each byte
    assert mask_layers_from_numpy([bitmap])[0].bits.tobytes() == b"\x80\x80"


def test_a_mask_with_too_few_bits_is_refused() -> None:
    layer = MaskLayer(rows=7, cols=7, bits=array.array("B", [0] * 6))
    with pytest.raises(ValueError, match="7 x 7 mask layer needs 7 bytes, got 6"):
        mask_to_numpy(GazeMask(layers=[layer]))


@pytest.mark.parametrize("style", ["native", "deduplicated", "effective"])
@pytest.mark.parametrize(
    ("resolution", "overlap"),
    [
        ("resize", 0),
        ("tile_grid", 0),
        ("tile_grid", 48),
        ("tile_grid", 50),
        ("tile_exact", 0),
        ("tile_exact", 48),
    ],
)
def test_a_mask_message_says_where_its_cells_lie(style: str, resolution: str, overlap: int) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (333, 1001, 3), np.uint8)
    settings = Settings(resolution=resolution, tile_overlap=overlap, target_psnr=0.0, keyframe_budget=40)
    gaze = Pipeline(settings).step(Frame(picture))
    message = mask_message(gaze, style, Header())  # type: ignore[arg-type]
    np.testing.assert_array_equal(mask_to_pixels(message), gaze.mask_image(style))
