"""Comparing runs: equal, different in this or that, and what one of them lacks."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parent))  # the helpers beside this file

from recordings import drawn
from run_folders import Row, write_run

from autogaze_ros.cli import app
from autogaze_ros.replay.compare import compare_runs, mask_iou
from autogaze_ros.replay.run import Options, replay
from autogaze_ros.replay.run_tables import RunError
from autogaze_ros.settings import Settings

BOX = st.tuples(st.integers(0, 12), st.integers(0, 8), st.integers(1, 8), st.integers(1, 8)).map(
    lambda b: (b[0], b[1], min(b[0] + b[2], 13), min(b[1] + b[3], 9))
)
BOXES = st.lists(BOX, max_size=6).map(lambda boxes: np.array(boxes, np.int32).reshape(-1, 4))


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[str, Path]:
    """Runs of one bag: two of the same settings, one of a smaller budget, one of every second image."""
    folder = tmp_path_factory.mktemp("compare")
    bag = drawn(folder / "bag", 24)
    found = {}
    for name, options in {
        "a": {}, "same": {}, "small": {"settings": Settings(budget=4)}, "half": {"every": 2},
    }.items():  # fmt: skip
        replay(Options([bag], folder / name, report=False, **options))
        found[name] = folder / name
    return found


def compare(a: Path, b: Path, out: Path, *more: str):
    return CliRunner().invoke(app, ["compare", str(a), str(b), "-o", str(out), *more], env={"COLUMNS": "120"})


@given(BOXES, BOXES)
def test_iou_against_counted_pixels(a: np.ndarray, b: np.ndarray):
    masks = []
    for boxes in (a, b):
        mask = np.zeros((9, 13), bool)
        for x0, y0, x1, y1 in boxes:
            mask[y0:y1, x0:x1] = True
        masks.append(mask)
    union = (masks[0] | masks[1]).sum()
    assert mask_iou(a, b, 13, 9) == ((masks[0] & masks[1]).sum() / union if union else 1.0)


def test_equal_runs_give_status_0(runs, tmp_path: Path):
    result = compare(runs["a"], runs["same"], tmp_path)
    assert result.exit_code == 0, result.output
    assert "The runs are equal" in result.output
    told = json.loads((tmp_path / "compare.json").read_text())
    topic = told["topics"]["/front/image_raw"]
    assert (told["equal"], topic["frames in both"], topic["iou min"]) == (True, 24, 1.0)
    assert topic["first difference"] is None


def test_another_budget_gives_status_1_and_says_where(runs, tmp_path: Path):
    result = compare(runs["a"], runs["small"], tmp_path)
    assert result.exit_code == 1, result.output
    told = json.loads((tmp_path / "compare.json").read_text())["topics"]["/front/image_raw"]
    frames = told["frames"]
    first = next(i for i, kind in enumerate(frames["differs in"]) if kind)
    assert told["first difference"]["index"] == frames["index A"][first]
    assert told["iou min"] == min(frames["iou"]) < 1
    assert told["tokens a frame B"] < told["tokens a frame A"]
    assert told["psnr difference mean"] == pytest.approx(np.mean(frames["psnr difference"]), abs=1e-5)
    picture = cv2.imread(str(tmp_path / "compare.png"))
    assert picture.shape[1] == 1500
    assert (picture < 128).any(axis=2).mean() > 0.005


def test_frames_of_one_run_only_are_counted_and_named(runs, tmp_path: Path):
    result = compare(runs["half"], runs["a"], tmp_path)
    assert result.exit_code == 1
    assert "only in B: frames 1, 3, 5, 7, 9, 11, 13, 15, 17, 19 and 2 more" in " ".join(result.output.split())
    told = json.loads((tmp_path / "compare.json").read_text())["topics"]["/front/image_raw"]
    assert (told["frames in both"], told["frames only in A"], told["frames only in B"]) == (12, 0, 12)
    assert [missing["index"] for missing in told["only in B"]] == list(range(1, 24, 2))


@pytest.mark.parametrize("wrong", ["missing", "damaged", "topics", "tolerance"])
def test_an_error_gives_status_2_and_one_line(runs, tmp_path: Path, wrong: str):
    other, more = tmp_path / "other", []
    if wrong == "damaged":
        write_run(other, {"/front/image_raw": [Row()]})
        (other / "fixations.parquet").write_bytes(b"no table")
    elif wrong == "topics":
        write_run(other, {"/another": [Row()]})
    elif wrong == "tolerance":
        other, more = runs["a"], ["--tolerance", "nan"]
    result = compare(runs["a"], other, tmp_path / "out", *more)
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith("autogaze compare: ")
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "out" / "compare.json").exists()


@pytest.mark.parametrize(
    ("changed", "kinds", "iou"),
    [
        (Row((5, 9), 40.0), (), 1.0),
        (Row((9, 5), 40.0), ("order",), 1.0),
        (Row((5, 10), 40.0), ("tokens",), 1 / 3),
        (Row((5, 9), 40.5), ("psnr",), 1.0),
        (Row((5, 9), math.inf), ("psnr",), 1.0),
        (Row((5, 9), 40.0, confidence=0.5), ("confidence",), 1.0),
        (Row((5, 9), 40.0, cause="cut"), ("keyframe",), 1.0),
        (Row((), 40.0), ("tokens",), 0.0),
    ],
)
def test_what_a_frame_differs_in(tmp_path: Path, changed: Row, kinds: tuple[str, ...], iou: float):
    plain = [Row((5, 9), 40.0) for _ in range(3)]
    a = write_run(tmp_path / "a", {"/cam": plain})
    b = write_run(tmp_path / "b", {"/cam": [plain[0], changed, plain[2]]})
    (topic,) = compare_runs(a, b).topics
    assert [frame.differs for frame in topic.frames] == [(), kinds, ()]
    assert topic.frames[1].iou == pytest.approx(iou)
    assert (topic.first.index_a if topic.first else None) == (1 if kinds else None)
    assert topic.equal == (not kinds)


def test_a_tolerance_lets_small_differences_pass(tmp_path: Path):
    a = write_run(tmp_path / "a", {"/cam": [Row(psnr=40.0), Row(psnr=math.inf)]})
    b = write_run(tmp_path / "b", {"/cam": [Row(psnr=40.01), Row(psnr=math.inf)]})
    assert not compare_runs(a, b).equal
    assert compare_runs(a, b, 0.02).equal
    assert compare_runs(a, b).topics[0].frames[1].psnr_difference == 0


def test_an_infinite_difference_is_told_as_such(tmp_path: Path):
    a = write_run(tmp_path / "a", {"/cam": [Row(psnr=40.0)]})
    b = write_run(tmp_path / "b", {"/cam": [Row(psnr=math.inf)]})
    assert compare(a, b, tmp_path / "out").exit_code == 1
    told = json.loads((tmp_path / "out" / "compare.json").read_text())["topics"]["/cam"]
    assert told["frames"]["psnr difference"] == ["inf"]
    assert told["psnr difference mean"] is None
    assert (tmp_path / "out" / "compare.png").is_file()  # also without an input


def test_other_stamps_are_matched_by_index_and_equal_stamps_one_by_one(tmp_path: Path):
    a = write_run(tmp_path / "a", {"/cam": [Row((1,)), Row((2,))]})
    b = write_run(tmp_path / "b", {"/cam": [Row((1,), stamp=7), Row((2,), stamp=9)]})
    (topic,) = compare_runs(a, b).topics
    assert (topic.matched_by, topic.equal) == ("index", True)
    twice = [Row((1,), stamp=0), Row((2,), stamp=0)]
    (topic,) = compare_runs(
        write_run(tmp_path / "c", {"/cam": twice}), write_run(tmp_path / "d", {"/cam": twice[:1]})
    ).topics
    assert (len(topic.frames), topic.only_a, topic.matched_by) == (1, [(1, 0)], "stamp")


def test_another_size_has_no_iou(tmp_path: Path):
    a = write_run(tmp_path / "a", {"/cam": [Row()]})
    b = write_run(tmp_path / "b", {"/cam": [Row()]}, size=(32, 24))
    frame = compare_runs(a, b).topics[0].frames[0]
    assert "size" in frame.differs
    assert math.isnan(frame.iou)
    assert compare(a, b, tmp_path / "out").exit_code == 1


def test_a_topic_of_one_run_only_makes_them_differ(tmp_path: Path):
    a = write_run(tmp_path / "a", {"/cam": [Row()], "/more": [Row()]})
    b = write_run(tmp_path / "b", {"/cam": [Row()]})
    comparison = compare_runs(a, b)
    assert not comparison.equal
    assert comparison.topics[1].only_a == [(0, 0)]
    with pytest.raises(RunError, match="no topic"):
        compare_runs(a, write_run(tmp_path / "c", {"/other": [Row()]}))
