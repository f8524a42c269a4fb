"""One camera's stream: what starts it afresh, what it remembers, and that frames are only read."""

import math
from dataclasses import fields
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from autogaze_ros.gaze import DEFAULT_LAYOUT, Frame, GazeFrame, TokenReceiver, psnr
from autogaze_ros.gaze.sources import Gaze, Limits, PatchDiffSource, SourceError
from autogaze_ros.pipeline import Pipeline
from autogaze_ros.replay.clips import DrawnClip
from autogaze_ros.settings import Settings

SECOND = 10**9
CLIP = list(DrawnClip(160, 120, 12))


class Notes:
    """A source that chooses token 7 and notes what it is asked; it fails, or calls back, when told to."""

    name, model, device, layout = "notes", "folder", "cpu", DEFAULT_LAYOUT

    def __init__(self) -> None:
        self.asked: list[tuple[bool, Limits]] = []
        self.fail = False
        self.during = lambda: None

    def another(self) -> "Notes":
        return Notes()

    def step(self, frame: Frame, receiver: TokenReceiver, limits: Limits, keyframe: bool) -> Gaze:
        self.asked.append((keyframe, limits))
        self.during()
        if self.fail:
            raise SourceError("told to")
        return Gaze.unpredicted(np.array([7]), np.ones(1))


def grey(
    level: int = 100, stamp: int = 0, width: int = 64, height: int = 48, encoding: str = "rgb8"
) -> Frame:
    return Frame(np.full((height, width, 3), level, np.uint8), stamp, encoding=encoding)


def same(one: GazeFrame, other: GazeFrame) -> bool:
    return all(
        np.array_equal(
            np.asarray(getattr(one, item.name)), np.asarray(getattr(other, item.name)), equal_nan=True
        )
        if isinstance(getattr(one, item.name), np.ndarray | float)
        else getattr(one, item.name) == getattr(other, item.name)
        for item in fields(GazeFrame)
    )


def causes(frames: list[Frame], **settings) -> list[str]:
    pipeline = Pipeline(Settings(**settings), Notes())
    gazes = [pipeline.step(frame) for frame in frames]
    assert [gaze.keyframe for gaze in gazes] == [bool(gaze.keyframe_cause) for gaze in gazes]
    return [gaze.keyframe_cause for gaze in gazes]


def test_a_stream_starts_once_and_counts_on():
    pipeline = Pipeline(Settings(budget=5, keyframe_budget=90), Notes())
    gazes = [pipeline.step(grey(stamp=index)) for index in range(4)]
    assert [gaze.keyframe_cause for gaze in gazes] == ["start", "", "", ""]
    assert [gaze.frame_index for gaze in gazes] == [0, 1, 2, 3]
    assert [(key, limits.budget) for key, limits in pipeline.source.asked] == [(True, 90)] + [(False, 5)] * 3
    assert pipeline.resets == {"start": 1}


@pytest.mark.parametrize(
    ("cause", "before", "after"),
    [
        ("stamp", grey(stamp=10), grey(stamp=9)),
        ("size", grey(width=64), grey(width=65)),
        ("size", grey(height=48), grey(height=47)),
        ("encoding", grey(encoding="rgb8"), grey(encoding="bgr8")),
        ("gap", grey(stamp=0), grey(stamp=5 * SECOND + 1)),
        ("cut", grey(100), grey(120)),
        ("", grey(stamp=10), grey(stamp=10)),
        ("", grey(stamp=0), grey(stamp=5 * SECOND)),
        ("", grey(100), grey(119)),
    ],
)
def test_what_starts_a_stream_afresh(cause: str, before: Frame, after: Frame):
    pipeline = Pipeline(Settings(), Notes())
    gazes = [pipeline.step(frame) for frame in (before, before, after, after)]
    assert [gaze.keyframe_cause for gaze in gazes] == ["start", "", cause, ""]
    assert [gaze.frame_index for gaze in gazes] == ([0, 1, 0, 1] if cause else [0, 1, 2, 3])
    assert pipeline.resets == {"start": 1} | ({cause: 1} if cause else {})


def test_a_request_starts_afresh_with_the_next_frame_once():
    pipeline = Pipeline(Settings(), Notes())
    pipeline.step(grey())
    pipeline.request_keyframe()
    pipeline.request_keyframe("other")
    assert [pipeline.step(grey()).keyframe_cause for _ in range(2)] == ["other", ""]


def test_a_request_that_comes_while_a_frame_is_in_work_is_not_lost():
    source = Notes()
    pipeline = Pipeline(Settings(), source)
    pipeline.step(grey())
    source.during = pipeline.request_keyframe
    assert not pipeline.step(grey()).keyframe
    source.during = lambda: None
    assert [pipeline.step(grey()).keyframe_cause for _ in range(2)] == ["request", ""]


def test_an_interval_starts_afresh_and_counts_on():
    pipeline = Pipeline(Settings(keyframe_interval=3), Notes())
    gazes = [pipeline.step(grey()) for _ in range(8)]
    assert [gaze.keyframe_cause for gaze in gazes] == ["start", "", "", "interval", "", "", "interval", ""]
    assert [gaze.frame_index for gaze in gazes] == list(range(8))


def test_thresholds_of_0_and_larger_ones_switch_causes_off():
    frames = [grey(0), grey(255), grey(0, stamp=100 * SECOND)]
    assert causes(frames, cut_threshold=0.0, gap_threshold=0.0) == ["start", "", ""]
    assert causes(frames, cut_threshold=255.0, gap_threshold=99.0) == ["start", "cut", "gap"]


def test_settings_replaced_between_frames_apply_to_the_next():
    pipeline = Pipeline(Settings(budget=5), Notes())
    pipeline.step(grey())
    pipeline.settings = pipeline.settings.replaced({"budget": 9, "keyframe_interval": 1})
    assert pipeline.step(grey()).keyframe_cause == "interval"
    pipeline.settings = pipeline.settings.replaced({"keyframe_interval": 0})
    pipeline.step(grey())
    assert pipeline.source.asked[-1][1].budget == 9


def test_a_failed_frame_starts_the_next_one_afresh():
    source = Notes()
    pipeline = Pipeline(Settings(), source)
    pipeline.step(grey())
    source.fail = True
    for _ in range(2):
        with pytest.raises(SourceError, match="told to"):
            pipeline.step(grey())
    source.fail = False
    gazes = [pipeline.step(grey()) for _ in range(2)]
    assert [(gaze.keyframe_cause, gaze.frame_index) for gaze in gazes] == [("error", 0), ("", 1)]
    assert [key for key, _ in source.asked] == [True, False, True, True, False]


def test_after_a_failure_the_results_are_those_of_a_new_stream():
    class Fails(PatchDiffSource):
        fail = False

        def step(self, frame, receiver, limits, keyframe):
            gaze = super().step(frame, receiver, limits, keyframe)
            if self.fail:
                raise SourceError("half way")
            return gaze

    frames = [Frame(picture) for picture in CLIP]
    pipeline = Pipeline(Settings(), Fails())
    for frame in frames[:3]:
        pipeline.step(frame)
    pipeline.source.fail = True
    with pytest.raises(SourceError):
        pipeline.step(frames[3])
    pipeline.source.fail = False
    fresh = Pipeline(Settings(source="patch_diff"))
    for frame in frames[4:8]:
        after, expected = pipeline.step(frame), fresh.step(frame)
        assert after.ids.tolist() == expected.ids.tolist()
        assert after.psnr == expected.psnr


@pytest.mark.parametrize("source", ["greedy", "patch_diff"])
@pytest.mark.parametrize("resolution", ["resize", "tile_exact"])
def test_the_same_frames_give_the_same_gazes(source: str, resolution: str):
    settings = Settings(source=source, working_size=56, resolution=resolution, keyframe_interval=5)

    def run() -> list[GazeFrame]:
        pipeline = Pipeline(settings)
        return [pipeline.step(Frame(p.copy(), stamp=i)) for i, p in enumerate(CLIP)]

    first, second = run(), run()
    assert sum(len(gaze) for gaze in first[1:]) > 0
    assert all(same(one, other) for one, other in zip(first, second, strict=True))
    assert not any(same(one, other) for one, other in pairwise(first)), "same() can tell gazes apart"


@pytest.mark.parametrize("resolution", ["resize", "tile_grid", "tile_exact"])
@pytest.mark.parametrize("source", ["greedy", "patch_diff"])
def test_frames_are_only_read(source: str, resolution: str):
    pipeline = Pipeline(Settings(source=source, working_size=224, resolution=resolution))
    for picture in DrawnClip(224, 224, 3):  # the working size, so that no copy is made on the way
        picture.setflags(write=False)
        gaze = pipeline.step(Frame(picture))
        assert (gaze.width, gaze.height) == (224, 224)


def test_a_buffer_that_the_camera_uses_again_does_no_harm():
    """What a source remembers is its own."""
    buffer = np.empty((224, 224, 3), np.uint8)
    for source in ("greedy", "patch_diff"):
        again, apart = Pipeline(Settings(source=source)), Pipeline(Settings(source=source))
        for picture in DrawnClip(224, 224, 5):
            buffer[:] = picture
            assert same(again.step(Frame(buffer)), apart.step(Frame(picture.copy())))


def test_a_gaze_says_where_it_comes_from():
    pipeline = Pipeline(Settings(), Notes())
    gaze = pipeline.step(grey(stamp=77, width=100, height=50))
    assert (gaze.stamp, gaze.width, gaze.height) == (77, 100, 50)
    assert (gaze.source, gaze.model) == ("notes", "folder")
    assert gaze.ids.tolist() == [7]
    np.testing.assert_array_equal(gaze.boxes, DEFAULT_LAYOUT.boxes([7], 100, 50))


@pytest.mark.parametrize("order", ["rgb", "bgr"])
def test_psnr_is_that_of_the_token_picture(order: str):
    pipeline = Pipeline(Settings(target_psnr=0.0, keyframe_budget=60))
    for picture in DrawnClip(224, 224, 3):
        frame = Frame(picture, order=order)
        gaze = pipeline.step(frame)
        shown: NDArray[np.uint8] = pipeline.token_picture(frame)
        assert shown.shape == picture.shape
        assert gaze.psnr == pytest.approx(psnr(shown, picture))
        assert 20 < gaze.psnr < math.inf


def test_a_token_picture_is_of_the_last_frames_size():
    pipeline = Pipeline(Settings())
    with pytest.raises(ValueError, match="no frame"):
        pipeline.token_picture(grey())
    pipeline.step(grey(100, width=301, height=7))
    assert pipeline.token_picture(grey(width=301, height=7)).shape == (7, 301, 3)
    with pytest.raises(ValueError, match="301 x 7"):
        pipeline.token_picture(grey(width=300, height=7))


def test_a_tile_without_tokens_on_a_keyframe_starts_afresh_with_its_first():
    """Two tiles share the tokens, which go to the one that needs them."""
    settings = Settings(
        source="patch_diff", resolution="tile_exact", total_budget=196, working_size=56, cut_threshold=0.0
    )
    pipeline = Pipeline(settings)
    picture = np.full((56, 112, 3), 128, np.uint8)
    left, right = picture.copy(), picture.copy()
    left[:, :56] = 255
    right[:, 56:] = 255
    assert set(pipeline.step(Frame(right)).tiles.tolist()) == {1}
    pipeline.settings = pipeline.settings.replaced({"total_budget": 1})
    pipeline.request_keyframe()
    assert pipeline.step(Frame(left)).tiles.tolist() == [0]
    gaze = pipeline.step(Frame(right))
    assert not gaze.keyframe
    assert gaze.tiles.tolist() == [1], "the source takes its cells for seen, which the receiver has forgotten"
