"""Where a replay writes: never over its inputs, never two in one folder, no two runs under one name."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # the helpers beside this file

from recordings import START, STEP, drawn, raw, write

from autogaze_ros.pipeline import Pipeline
from autogaze_ros.replay.clips import DrawnClip
from autogaze_ros.replay.plan import folders_of
from autogaze_ros.replay.run import Options, ReplayError, replay


@pytest.fixture(scope="module")
def bag(tmp_path_factory) -> Path:
    return drawn(tmp_path_factory.mktemp("bag") / "bag", frames=6)


def run(inputs: Path | list[Path], out: Path, **options: object) -> None:
    inputs = inputs if isinstance(inputs, list) else [inputs]
    replay(Options(inputs, out, **{"report": False, **options}))  # type: ignore[arg-type]


def everything(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("name", ["gaze.mcap", "overlay.mp4", "overlay_left.mp4", "segments/00/000000.mcap"])
def test_an_input_is_not_overwritten(bag: Path, tmp_path: Path, name: str, overwrite: bool):
    out = tmp_path / "same"
    (out / name).parent.mkdir(parents=True)
    (out / name).write_bytes(next(bag.glob("*.mcap")).read_bytes())
    before = everything(out)
    with pytest.raises(ReplayError, match=f"{Path(name).name} is an input and would be overwritten"):
        run(out / name, out, overwrite=overwrite, video=True)
    assert everything(out) == before


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_not_even_under_another_name(bag: Path, tmp_path: Path, link):
    data = tmp_path / "data.mcap"
    data.write_bytes(next(bag.glob("*.mcap")).read_bytes())
    (tmp_path / "out").mkdir()
    link(data, tmp_path / "out/gaze.mcap")
    before = everything(tmp_path)
    with pytest.raises(ReplayError, match="would be overwritten"):
        run(data, tmp_path / "out", overwrite=True)
    assert everything(tmp_path) == before


def test_not_that_of_another_run(bag: Path, tmp_path: Path):
    (tmp_path / "bag").mkdir()
    (tmp_path / "bag/gaze.mcap").write_bytes(next(bag.glob("*.mcap")).read_bytes())
    with pytest.raises(ReplayError, match="would be overwritten"):
        run([bag, tmp_path / "bag/gaze.mcap"], tmp_path)


def test_a_recordings_folder_is_no_run_folder(bag: Path):
    before = everything(bag)
    with pytest.raises(ReplayError, match="is an input itself"):
        run(bag, bag)
    assert everything(bag) == before


@pytest.mark.parametrize("options", [{}, {"resume": True}, {"overwrite": True}])
def test_two_replays_do_not_work_in_one_folder(bag: Path, tmp_path: Path, monkeypatch, options: dict):
    step, second = Pipeline.step, []

    def stepped(self, frame):
        if not second:
            with pytest.raises(ReplayError, match="another replay is at work") as caught:
                run(bag, tmp_path / "out", **options)
            second.append(caught)
        return step(self, frame)

    monkeypatch.setattr(Pipeline, "step", stepped)
    run(bag, tmp_path / "out")
    assert second
    assert (tmp_path / "out/plan.json").exists()
    monkeypatch.undo()
    run(bag, tmp_path / "out", overwrite=True)


def test_a_run_that_failed_lets_its_folder_go(bag: Path, tmp_path: Path, monkeypatch):
    def failing(self, frame):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Pipeline, "step", failing)
        try:
            run(bag, tmp_path / "out")
        except KeyboardInterrupt as error:  # whose traceback holds the whole run
            run_again = error
    run(bag, tmp_path / "out", resume=True)
    assert run_again


def test_no_two_runs_have_one_folder(tmp_path: Path):
    inputs = [tmp_path / name for name in ("x/bag", "y/bag", "z/bag_2", "w/bag")]
    names = [folder.name for _, folder in folders_of(Options(inputs, tmp_path))]
    assert names == ["bag", "bag_2", "bag_2_2", "bag_3"]


def test_no_two_topics_have_one_video(tmp_path: Path):
    clip = [*DrawnClip(96, 64, 2)]
    lines = [
        (topic, START + index * STEP, raw(picture, START + index * STEP))
        for index, picture in enumerate(clip)
        for topic in ("/a/b", "/a_b")
    ]
    run(write(tmp_path / "bag", lines), tmp_path / "out", video=True)
    assert sorted(f.name for f in (tmp_path / "out").glob("*.mp4")) == [
        "overlay_a_b.mp4",
        "overlay_a_b_2.mp4",
    ]
