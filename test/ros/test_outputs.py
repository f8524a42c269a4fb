"""What the node answers to an image: exact stamps, boxes, masks and pictures."""

from __future__ import annotations

import math
from collections.abc import Callable

import cv2
import numpy as np
import pytest
from gaze_client import Gaze, image, pixels_of, stamp_of
from pictures import scene

from autogaze_ros.gaze.tokens import DEFAULT_LAYOUT
from autogaze_ros.render import VIEWS
from autogaze_ros.ros.messages import fixations_from_numpy, fixations_to_numpy, mask_to_numpy

GRIDS, OFFSETS = (2, 4, 7, 14), (0, 4, 20, 69)
STAMP = 1_234_567_890_123_456_789


def union(fixations: np.ndarray, width: int, height: int) -> np.ndarray:
    """(H, W) bool: pixels inside the boxes of (N,) fixations."""
    covered = np.zeros((height, width), bool)
    for f in fixations:
        covered[f["y0"] : f["y1"], f["x0"] : f["x1"]] = True
    return covered


def test_every_output_carries_the_images_own_stamp_and_frame(gaze: Gaze) -> None:
    for offset, frame_id in ((0, "front/optical"), (1, ""), (500_000_000, "rückwärts")):
        answer = gaze.ask(image(scene()), stamp=STAMP + offset, frame_id=frame_id)
        assert len(answer) == 6
        for output, message in answer.items():
            stamp = message.header.stamp
            assert (stamp.sec, stamp.nanosec) == divmod(STAMP + offset, 10**9), output
            assert message.header.frame_id == frame_id, output
    gaze.reset()  # the stamps of the other tests are earlier or later


# 1 x 1 cells at the edges, odd sizes, and sizes that no grid divides
@pytest.mark.parametrize(("width", "height"), [(320, 240), (333, 241), (97, 65), (17, 5)])
def test_ids_cells_and_boxes_agree(gaze: Gaze, width: int, height: int) -> None:
    message = gaze.ask(image(scene(0, width, height)))["fixations"]
    assert (message.width, message.height) == (width, height)
    assert len(message.fixations) > 0
    for f in message.fixations:
        assert f.grid == GRIDS[f.scale]
        assert f.token_id == OFFSETS[f.scale] + f.row * f.grid + f.col
        assert 0 <= f.row < f.grid
        assert 0 <= f.col < f.grid
        assert f.x0 == f.col * width // f.grid
        assert f.y0 == f.row * height // f.grid
        assert f.x1 == -(-(f.col + 1) * width // f.grid)
        assert f.y1 == -(-(f.row + 1) * height // f.grid)
        assert f.center_x == pytest.approx((f.col + 0.5) / f.grid)
        assert f.center_y == pytest.approx((f.row + 0.5) / f.grid)
        assert f.size_x == f.size_y == pytest.approx(1 / f.grid)
        assert 0 <= f.confidence <= 1
        assert math.isnan(f.predicted_loss)  # greedy predicts none
    ids = [f.token_id for f in message.fixations]
    assert len(set(ids)) == len(ids)


def test_ratios_and_measures(gaze: Gaze) -> None:
    for index in range(4):
        message = gaze.ask(image(scene(index)))["fixations"]
        rows = fixations_to_numpy(message)
        assert message.frame_index == index
        assert message.keyframe == (index == 0)
        assert message.source == "greedy"
        assert message.token_ratio == pytest.approx(len(rows) / 265)
        assert message.gaze_ratio == pytest.approx(union(rows, 320, 240).mean())
        assert message.update_ratio == pytest.approx(1 if index == 0 else message.gaze_ratio)
        assert len(rows) <= (198 if index == 0 else 20)
        assert math.isnan(message.predicted_loss)
        assert message.measured_loss == pytest.approx(10 ** (-message.psnr / 20), rel=1e-4)
        assert message.psnr > 20
    assert 0 < message.gaze_ratio < 1


@pytest.mark.parametrize("style", ["native", "deduplicated", "effective"])
def test_masks_agree_with_fixations(gaze: Gaze, style: str) -> None:
    gaze.must_set(mask_style=style, keyframe_budget=265, target_psnr=0)
    for index in range(2):  # a keyframe with much overlap, and an update
        answer = gaze.ask(image(scene(index, 333, 241)))
        rows = fixations_to_numpy(answer["fixations"])
        mask = answer["mask"]
        assert mask.style == style
        assert (mask.width, mask.height) == (333, 241)
        assert all(len(layer.bits) == -(-layer.rows * layer.cols // 8) for layer in mask.layers)
        bitmaps = mask_to_numpy(mask)
        if style == "effective":
            finest = np.zeros((14, 14), bool)
            for f in rows:
                g, r, c = int(f["grid"]), int(f["row"]), int(f["col"])
                finest[r * 14 // g : -(-(r + 1) * 14 // g), c * 14 // g : -(-(c + 1) * 14 // g)] = True
            assert len(bitmaps) == 1
            assert np.array_equal(bitmaps[0], finest)
            cells = np.flatnonzero(finest) + 69
        else:
            assert [b.shape for b in bitmaps] == [(g, g) for g in GRIDS]
            cells = np.flatnonzero(np.concatenate([b.ravel() for b in bitmaps]))
            if style == "native":
                assert cells.tolist() == sorted(rows["token_id"].tolist())
            else:
                assert set(cells.tolist()) <= set(rows["token_id"].tolist())
        shown = np.zeros((241, 333), bool)
        for x0, y0, x1, y1 in DEFAULT_LAYOUT.boxes(cells, 333, 241).tolist():
            shown[y0:y1, x0:x1] = True
        picture = answer["mask_image"]
        assert picture.encoding == "mono8"
        assert np.array_equal(pixels_of(picture), shown * 255)
        if style != "effective":
            assert np.array_equal(shown, union(rows, 333, 241))


@pytest.mark.parametrize("encoding", ["rgb8", "bgr8"])
def test_overlay_marks_the_gazed_cells_and_nothing_else(gaze: Gaze, encoding: str) -> None:
    gaze.must_set(annotate=False, opacity=1.0)
    picture = scene()
    gaze.ask(image(picture))
    picture = scene(3)
    answer = gaze.ask(image(picture if encoding == "rgb8" else picture[..., ::-1].copy(), encoding))
    if answer["fixations"].keyframe:  # another encoding starts afresh; look at an update
        picture = scene(4)
        answer = gaze.ask(image(picture if encoding == "rgb8" else picture[..., ::-1].copy(), encoding))
    overlay = answer["overlay"]
    assert (overlay.encoding, overlay.width, overlay.height) == (encoding, 320, 240)
    gazed = union(fixations_to_numpy(answer["fixations"]), 320, 240)
    changed = (pixels_of(overlay) != picture).any(axis=-1)
    assert gazed.any()
    assert not gazed.all()
    assert not changed[~gazed].any()
    # At opacity 1 every gazed pixel has the colour of a scale: few colours, other than the scene's.
    assert len(np.unique(pixels_of(overlay)[gazed].reshape(-1, 3), axis=0)) <= 4
    jpeg = answer["overlay/compressed"]
    assert "jpeg" in jpeg.format
    decoded = cv2.imdecode(np.frombuffer(jpeg.data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    assert decoded.shape == (240, 320, 3)
    assert np.abs(decoded.astype(int) - pixels_of(overlay)).mean() < 6


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_is_a_whole_picture(gaze: Gaze, view: str) -> None:
    gaze.must_set(view=view)
    gaze.ask(image(scene()))
    answer = gaze.ask(image(scene(3)))
    overlay, packed = answer["overlay"], answer["overlay/compressed"]
    channels = {"rgb8": 3, "rgba8": 4}[overlay.encoding]
    assert channels == (4 if view == "mask_only" else 3)
    assert overlay.step == overlay.width * channels
    assert len(overlay.data) == overlay.step * overlay.height
    if view in ("overlay", "mask_only", "full_blend", "interframe"):
        assert (overlay.width, overlay.height) == (320, 240)
    decoded = cv2.imdecode(np.frombuffer(packed.data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert decoded.shape == (overlay.height, overlay.width, channels)
    assert ("png" if channels == 4 else "jpeg") in packed.format


def test_reconstruction_holds_the_gazed_pixels_over_the_older_ones(gaze: Gaze) -> None:
    shown = None
    for index in range(5):
        picture = scene(index)
        answer = gaze.ask(image(picture))
        gazed = union(fixations_to_numpy(answer["fixations"]), 320, 240)
        shown = picture.copy() if shown is None else np.where(gazed[..., None], picture, shown)
        assert np.array_equal(pixels_of(answer["reconstruction"]), shown), f"frame {index}"
    assert not np.array_equal(shown, picture)  # else this would show nothing


def test_token_reconstruction_is_coarser_but_as_near_as_its_psnr(gaze: Gaze) -> None:
    gaze.must_set(reconstruction_fill="token", target_psnr=0, keyframe_budget=265)
    picture = scene(0, 224, 224)  # the working size, so that nothing is scaled
    answer = gaze.ask(image(picture))
    error = np.mean((pixels_of(answer["reconstruction"]).astype(float) - picture) ** 2)
    psnr = math.inf if error == 0 else 10 * math.log10(255**2 / error)
    assert answer["fixations"].psnr == pytest.approx(psnr, abs=0.01)


def test_fixations_come_back_from_numpy_unchanged(gaze: Gaze) -> None:
    message = gaze.ask(image(scene()))["fixations"]
    rows = fixations_to_numpy(message)
    assert rows["token_id"].tolist() == [f.token_id for f in message.fixations]
    again = fixations_from_numpy(rows)
    for name in rows.dtype.names:
        sent, back = ([getattr(f, name) for f in fixations] for fixations in (message.fixations, again))
        np.testing.assert_array_equal(np.array(sent), np.array(back), err_msg=name)


def test_a_late_subscriber_gets_a_whole_reconstruction_first(start: Callable[..., Gaze]) -> None:
    """Which also shows that no reconstruction was kept before somebody listened."""
    gaze = start()
    gaze.connect("fixations")
    for index in range(3):
        gaze.ask(image(scene(index)))
    gaze.listen("reconstruction")
    sent = []
    while not gaze.messages["reconstruction"]:  # until the node has noticed the subscriber
        index += 1
        sent.append((scene(index), gaze.ask(image(scene(index)), of=["fixations"])["fixations"]))
        gaze.client.spin(0.1)
    late = gaze.messages["reconstruction"][0]
    sent.append((scene(index + 1), (answer := gaze.ask(image(scene(index + 1))))["fixations"]))
    sent = [pair for pair in sent if stamp_of(pair[1]) >= stamp_of(late)]
    shown = sent[0][0]
    assert np.array_equal(pixels_of(late), shown)
    for picture, fixations in sent[1:]:
        assert not fixations.keyframe
        gazed = union(fixations_to_numpy(fixations), 320, 240)
        shown = np.where(gazed[..., None], picture, shown)
    assert np.array_equal(pixels_of(answer["reconstruction"]), shown)
    assert not np.array_equal(shown, picture)
