"""The command line: what it refuses, what it says and its exit status."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parent))  # the helpers beside this file

from recordings import drawn, write

from autogaze_ros.cli import app
from autogaze_ros.replay.journal import Journal, _Unpickler


@pytest.fixture(scope="module")
def bag(tmp_path_factory) -> Path:
    return drawn(tmp_path_factory.mktemp("bag") / "bag", frames=4)


def call(*words: object):
    return CliRunner().invoke(app, ["replay", *map(str, words)])


def test_help_has_examples():
    shown = call("--help").output
    assert "autogaze replay my_bag -o out/run" in shown
    assert "--mode live --cost 25" in shown


def test_a_run(bag: Path, tmp_path: Path):
    result = call(bag, "-o", tmp_path / "out", "--no-report", "--set", "budget=3")
    assert result.exit_code == 0, result.output
    assert "4 frames" in result.stdout
    assert (tmp_path / "out/summary.json").exists()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--start", "5", "--end", "5"], "--end 5 is not after --start 5"),
        (["--cost", "10"], "--cost belongs to --mode live"),
        (["--resume", "--overwrite"], "exclude each other"),
        (["--set", "bugdet=3"], "no setting is called bugdet"),
        (["--params", "/no/such.yaml"], "can't be read"),
        (["--every", "0"], "--every"),
        (["--mode", "fast"], "every-frame"),
    ],
)
def test_words_that_can_not_be_meant_are_refused(bag: Path, tmp_path: Path, words: list[str], reason: str):
    result = call(bag, "-o", tmp_path / "out", *words)
    assert result.exit_code == 2
    assert reason in " ".join(result.stderr.replace("│", " ").split())
    assert not (tmp_path / "out").exists()


def test_input_that_is_none(tmp_path: Path, bag: Path):
    result = call(tmp_path / "nothing", "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert "there is no such file" in result.stderr
    result = call(bag, "-o", tmp_path / "out", "--topic", "/rear")
    assert result.exit_code == 1
    assert "no image topic /rear; its image topics: /front/image_raw" in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_model_that_can_not_be_loaded(tmp_path: Path, bag: Path):
    pytest.importorskip("torch")
    result = call(bag, "-o", tmp_path / "out", "--set", "source=autogaze", "--set", f"model={tmp_path}")
    assert result.exit_code == 1
    assert str(tmp_path) in result.stderr


def test_a_folder_that_can_not_be_written(tmp_path: Path, bag: Path):
    (tmp_path / "file").write_text("")
    assert call(bag, "-o", tmp_path / "file").exit_code == 2
    assert call(bag, "-o", tmp_path / "file/out").exit_code == 2


def test_a_recording_without_one_good_image_has_a_run_folder_and_a_bad_status(tmp_path: Path):
    bag = write(tmp_path / "bag", [("/cam", i, b"\0\1\0\0 no image") for i in range(3)])
    result = call(bag, "-o", tmp_path / "out", "--no-report", "--video")
    assert result.exit_code == 1
    assert "3 x message" in result.stderr
    for name in ("fixations.csv", "frames.csv"):
        assert len((tmp_path / "out" / name).read_text().splitlines()) == 1
    assert len((tmp_path / "out/problems.csv").read_text().splitlines()) == 4


def test_a_state_makes_nothing_but_states(tmp_path: Path):
    """A run folder may come from somebody else."""
    import io
    import os
    import pickle

    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'harm'}",)

    with pytest.raises(pickle.UnpicklingError):
        _Unpickler(io.BytesIO(pickle.dumps(Evil()))).load()
    journal = Journal(tmp_path / "journal")
    journal.commit({}, None)
    (tmp_path / "journal/000000.state").write_bytes(pickle.dumps(Evil()))
    assert Journal(tmp_path / "journal").state() is None
    assert not (tmp_path / "harm").exists()
