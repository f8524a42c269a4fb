"""From recordings to run folders."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest
from mcap.reader import make_reader
from rosbags.highlevel import AnyReader

sys.path.insert(0, str(Path(__file__).parent))  # the helpers beside this file

from recordings import START, STEP, contents, drawn, raw, write

from autogaze_ros.gaze.sources import SourceError
from autogaze_ros.pipeline import Pipeline
from autogaze_ros.replay.clips import ClipError, DrawnClip
from autogaze_ros.replay.mcap_writer import type_store
from autogaze_ros.replay.progress import Bars
from autogaze_ros.replay.reader import open_input
from autogaze_ros.replay.run import Options, ReplayError, replay
from autogaze_ros.replay.spread import ClusterError, Spread
from autogaze_ros.settings import Settings


def run(inputs: Path | list[Path], out: Path, **options: Any) -> dict[str, Any]:
    """The summary of a replay."""
    inputs = inputs if isinstance(inputs, list) else [inputs]
    replay(Options(inputs, out, **{"report": False, **options}))
    return json.loads((out / "summary.json").read_text())


def table(out: Path, name: str) -> list[dict[str, str]]:
    with (out / name).open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def bag(tmp_path_factory) -> Path:
    return drawn(tmp_path_factory.mktemp("bag") / "two_cameras", cameras=2)


@pytest.fixture(scope="module")
def done(bag: Path, tmp_path_factory) -> Path:
    """Its run folder, with all pictures."""
    out = tmp_path_factory.mktemp("done") / "run"
    run(bag, out, overlay=True, reconstruction=True, video=True)
    return out


def test_the_tables_say_what_the_pipeline_says(bag: Path, done: Path):
    frames, fixations = table(done, "frames.csv"), table(done, "fixations.csv")
    for topic in ("/front/image_raw", "/rear/image_raw/compressed"):
        lines = [line for line in frames if line["topic"] == topic]
        assert len(lines) == 40
        pipeline = Pipeline(Settings())
        with open_input(bag) as source:
            for line, (_, index, stamp, _, frame) in zip(lines, source.images(topic), strict=True):
                gaze = pipeline.step(frame)
                assert (int(line["index"]), int(line["stamp"])) == (index, stamp)
                assert line["keyframe_cause"] == gaze.keyframe_cause
                assert np.float32(line["psnr"]) == np.float32(gaze.psnr)
                assert np.float32(line["update_ratio"]) == np.float32(gaze.update_ratio)
                own = [f for f in fixations if f["topic"] == topic and int(f["index"]) == index]
                assert [int(f["token_id"]) for f in own] == gaze.ids.tolist()
                boxes = [[int(f[n]) for n in ("x0", "y0", "x1", "y1")] for f in own]
                assert boxes == gaze.boxes.tolist()
                assert int(line["tokens"]) == len(own)


def test_parquet_and_csv_hold_the_same(done: Path):
    rows = pyarrow.parquet.read_table(done / "fixations.parquet").to_pylist()
    lines = table(done, "fixations.csv")
    assert len(rows) == len(lines) > 100
    for row, line in zip(rows, lines, strict=True):
        assert list(row) == list(line)
        for name, value in row.items():
            if isinstance(value, float):
                np.testing.assert_equal(np.float32(line[name]), np.float32(value))
            else:
                assert str(value) == line[name]


def test_the_bag_opens_with_its_own_definitions_and_the_original_stamps(done: Path):
    with AnyReader([done / "gaze.mcap"]) as reader:
        found = [(c.topic, logged, reader.deserialize(d, c.msgtype)) for c, logged, d in reader.messages()]
    names = ["fixations", "mask", "overlay/compressed", "reconstruction/compressed"]
    cameras = ["/front/image_raw", "/rear/image_raw/compressed"]
    assert {topic for topic, *_ in found} == {f"{camera}/gaze/{name}" for camera in cameras for name in names}
    assert len(found) == 40 * 2 * 4
    assert [line[1] for line in found] == sorted(line[1] for line in found)
    for number, (topic, logged, message) in enumerate(found):
        stamp = START + number // 8 * STEP + (5 if topic.startswith("/rear") else 0)
        assert message.header.stamp.sec * 10**9 + message.header.stamp.nanosec == stamp
        assert message.header.frame_id == "camera"
        assert logged == stamp + (1995 if topic.startswith("/rear") else 1000)
    with (done / "gaze.mcap").open("rb") as file:
        reader = make_reader(file, validate_crcs=True)
        assert sum(1 for _ in reader.iter_messages()) == len(found)


def test_a_video_a_camera(done: Path):
    import av

    for name in ("overlay_front_image_raw.mp4", "overlay_rear_image_raw_compressed.mp4"):
        with av.open(str(done / name)) as container:
            assert sum(1 for _ in container.decode(video=0)) == 40


def test_the_summary_is_strict_json_and_adds_up(bag: Path, done: Path):
    def refuse(name: str) -> None:
        raise AssertionError(name)

    summary = json.loads((done / "summary.json").read_text(), parse_constant=refuse)
    frames = table(done, "frames.csv")
    assert summary["frames"] == len(frames) == 80
    assert summary["tokens"]["total"] == sum(int(line["tokens"]) for line in frames)
    psnr = [min(100, float(line["psnr"])) for line in frames]
    assert summary["psnr"]["mean"] == pytest.approx(np.mean(psnr), abs=1e-4)
    assert summary["psnr"]["min"] == pytest.approx(np.min(psnr), abs=1e-4)
    assert summary["dropped"] == summary["problems"] == {}
    assert summary["topics"]["/front/image_raw"]["keyframes"]["start"] == 1
    assert summary["settings"]["source"] == "greedy"
    data = next(f for f in summary["inputs"] if f["name"].endswith(".mcap"))
    assert data["bytes"] == (bag / data["name"]).stat().st_size
    assert len(data["sha256"]) == 64
    assert summary["timing"]["compute_ms"]["count"] == len(table(done, "timing.csv")) == 80
    assert not (done / "segments").exists()


def test_the_same_again_is_the_same_to_the_byte_however_the_work_is_spread(bag: Path, tmp_path: Path):
    run(bag, tmp_path / "one")
    once = contents(tmp_path / "one")
    run(bag, tmp_path / "two", checkpoint=0.0)  # a segment for each image
    assert contents(tmp_path / "two") == once
    summaries = []
    for name, options in (("three", {}), ("four", {"spread": Spread(2)})):
        summary = run([bag, bag], tmp_path / name, **options)
        for folder in ("two_cameras", "two_cameras_2"):
            assert contents(tmp_path / name / folder) == once
        summaries.append({key: value for key, value in summary.items() if key != "host"})
    assert summaries[0] == summaries[1]
    assert summaries[0]["frames"] == 160
    assert [line["folder"] for line in summaries[0]["runs"]] == ["two_cameras", "two_cameras_2"]
    parts = [json.loads((tmp_path / n / "summary.json").read_text()) for n in ("one", "two")]
    for part in parts:
        del part["timing"], part["host"]
    assert parts[0] == parts[1]


@pytest.mark.parametrize(
    ("setting", "jobs"),
    [
        ("source=greedy", "1"),
        ("source=greedy", "2"),
        ("source=patch_diff", "1"),
        ("resolution=tile_grid", "1"),
    ],
)
def test_killed_in_the_middle_and_resumed_it_ends_the_same(tmp_path: Path, setting: str, jobs: str):
    bag = drawn(tmp_path / "bag", frames=150, cameras=int(jobs))
    settings = ["--set", setting, "--set", "cut_threshold=0", "--no-report", "--overlay", "-j", jobs]
    words = [sys.executable, "-m", "autogaze_ros", "replay", str(bag), *settings, "--checkpoint", "0.01"]
    subprocess.run([*words, "-o", str(tmp_path / "whole")], check=True, timeout=60)
    killed = tmp_path / "killed"
    process = subprocess.Popen([*words, "-o", str(killed)])
    journal = killed / "segments/00_front_image_raw"
    deadline = time.monotonic() + 60
    while not (journal / "000002.json").exists():
        assert process.poll() is None, "it was through too early"
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (killed / "summary.json").exists()
    # Each finished segment opens as any bag does.
    with AnyReader([journal / "000000.mcap"]) as reader:
        assert sum(1 for _ in reader.messages()) > 0
    again = subprocess.run([*words, "-o", str(killed)], capture_output=True, text=True, timeout=60)
    assert again.returncode == 2
    assert "--resume" in again.stderr
    if jobs != "1":
        time.sleep(1.0)  # the workers notice that they are alone
    assert len(list(journal.glob("*.json"))) >= 3
    subprocess.run([*words, "-o", str(killed), "--resume"], check=True, timeout=60)
    assert contents(killed) == contents(tmp_path / "whole")


def test_a_models_replay_that_was_interrupted_goes_on_from_the_last_fresh_start(tmp_path: Path, monkeypatch):
    """Its state is not stored."""
    pytest.importorskip("torch", reason="the source autogaze needs torch")
    bag = drawn(tmp_path / "bag", frames=12)
    tiny = str(Path(__file__).parents[1] / "data" / "tiny")
    settings = Settings(
        source="autogaze", model=tiny, device="cpu", loss_threshold=-100, budget=3, keyframe_budget=9
    )
    run(bag, tmp_path / "whole", settings=settings)
    assert {line["tokens"] for line in table(tmp_path / "whole", "frames.csv")} == {"9", "3"}
    summary = json.loads((tmp_path / "whole/summary.json").read_text())
    assert (summary["source"]["model"], len(summary["source"]["model_sha256"])) == ("tiny", 64)
    step, count = Pipeline.step, iter(range(100))

    def failing(self, frame):
        if next(count) == 11:
            raise KeyboardInterrupt
        return step(self, frame)

    monkeypatch.setattr(Pipeline, "step", failing)
    with pytest.raises(KeyboardInterrupt):
        run(bag, tmp_path / "cut", checkpoint=0.0, settings=settings)
    run(bag, tmp_path / "cut", resume=True, settings=settings)
    assert next(count) == 12 + 3, "the last frame, and the two since the cut once more"
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")


def test_without_a_stored_state_pictures_go_on_as_well(tmp_path: Path, monkeypatch):
    bag = drawn(tmp_path / "bag", frames=60)
    options = {"settings": Settings(cut_threshold=20, reconstruction_fill="source"), "reconstruction": True}
    run(bag, tmp_path / "whole", **options)
    monkeypatch.setattr("autogaze_ros.replay.gazer._PLAIN_SOURCES", ())
    stepped = []
    step = Pipeline.step

    def failing(self, frame):
        stepped.append(frame.stamp)
        if len(stepped) == 52:
            raise KeyboardInterrupt
        return step(self, frame)

    monkeypatch.setattr(Pipeline, "step", failing)
    with pytest.raises(KeyboardInterrupt):
        run(bag, tmp_path / "cut", checkpoint=0.0, **options)
    assert not list((tmp_path / "cut/segments").rglob("*.state"))
    run(bag, tmp_path / "cut", resume=True, **options)
    assert stepped[52] == START + 45 * STEP, "the cut at three quarters is the last fresh start"
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")


def test_a_frame_that_failed_right_before_the_interruption_still_starts_the_next_afresh(
    tmp_path: Path, monkeypatch
):
    bag = drawn(tmp_path / "bag", frames=30)
    monkeypatch.setattr("autogaze_ros.replay.gazer._PLAIN_SOURCES", ())
    step, interrupt = Pipeline.step, [False]

    def failing(self, frame):
        if frame.stamp == START + 20 * STEP:
            self.failed = True
            raise SourceError("out of memory")
        if frame.stamp == START + 21 * STEP and interrupt.pop():
            raise KeyboardInterrupt
        return step(self, frame)

    monkeypatch.setattr(Pipeline, "step", failing)
    run(bag, tmp_path / "whole", reconstruction=True)
    interrupt += [False, True]
    with pytest.raises(KeyboardInterrupt):
        run(bag, tmp_path / "cut", checkpoint=0.0, reconstruction=True)
    run(bag, tmp_path / "cut", resume=True, reconstruction=True)
    assert {f["keyframe_cause"] for f in table(tmp_path / "cut", "frames.csv")} == {
        "start",
        "error",
        "",
        "cut",
    }
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")


def test_a_run_that_was_finished_is_left_as_it_is(bag: Path, done: Path):
    options = {"overlay": True, "reconstruction": True, "video": True}
    before = {f: f.stat().st_mtime_ns for f in done.iterdir()}
    run(bag, done, resume=True, **options)
    assert {f: f.stat().st_mtime_ns for f in done.iterdir()} == before
    with pytest.raises(ReplayError, match="holds a finished run; --resume"):
        run(bag, done, **options)
    with pytest.raises(ReplayError, match="begun with another settings, pictures"):
        run(bag, done, resume=True, settings=Settings(budget=7))


@pytest.mark.parametrize(("key", "value"), [("format", 0), ("format", None), ("version", "0.0.9")])
def test_a_run_of_another_version_is_not_gone_on_with(tmp_path: Path, monkeypatch, key: str, value: Any):
    bag = drawn(tmp_path / "bag", frames=3)
    run(bag, tmp_path / "out")
    file = tmp_path / "out/plan.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {key: value}))
    with pytest.raises(ReplayError, match=f"is of version .*{value}.*, and this is version .*--overwrite"):
        run(bag, tmp_path / "out", resume=True)


def test_overwriting_deletes_what_a_run_left_and_nothing_else(tmp_path: Path):
    bag = drawn(tmp_path / "bag", frames=3)
    run(bag, tmp_path / "out", video=True)
    (tmp_path / "out/notes.txt").write_text("mine")
    run(bag, tmp_path / "out", overwrite=True)
    assert (tmp_path / "out/notes.txt").read_text() == "mine"
    assert not (tmp_path / "out/overlay.mp4").exists()


def same_picture(folder: Path, picture: np.ndarray, frames: int) -> Path:
    """A bag in which nothing changes."""
    lines = [("/cam", START + i * STEP, raw(picture, START + i * STEP)) for i in range(frames)]
    return write(folder, lines)


def test_a_run_without_a_fixation_is_written_as_well(tmp_path: Path):
    grey = np.full((64, 96, 3), 128, np.uint8)  # what a receiver shows before the first token
    summary = run(same_picture(tmp_path / "bag", grey, 3), tmp_path / "out", report=True)
    assert (summary["frames"], summary["tokens"]["total"]) == (3, 0)
    assert pyarrow.parquet.read_table(tmp_path / "out/fixations.parquet").num_rows == 0
    assert table(tmp_path / "out", "fixations.csv") == []
    assert len(table(tmp_path / "out", "frames.csv")) == 3


def test_frames_without_a_fixation_may_follow_a_full_row_group(tmp_path: Path, monkeypatch):
    (picture,) = DrawnClip(96, 64, 1)
    settings = Settings(source="patch_diff", cut_threshold=0)
    bag = same_picture(tmp_path / "bag", picture, 600)
    monkeypatch.setattr("autogaze_ros.replay.tables.GROUP", 1)
    summary = run(bag, tmp_path / "out", settings=settings)
    rows = pyarrow.parquet.read_table(tmp_path / "out/fixations.parquet")
    assert rows.num_rows == summary["tokens"]["total"] > 0
    assert set(rows["index"].to_pylist()) == {0}


def test_range_and_every_n_th(bag: Path, tmp_path: Path):
    run(bag, tmp_path / "out", topics=["/front/image_raw"], start=10 * 0.033, end=30 * 0.033, every=4)
    lines = table(tmp_path / "out", "frames.csv")
    assert [int(line["index"]) for line in lines] == [12, 16, 20, 24, 28]
    assert {line["topic"] for line in lines} == {"/front/image_raw"}


@pytest.mark.parametrize(("options", "total"), [({}, 40), ({"start": 0.5}, 40), ({"end": 0.5}, None)])
def test_the_bars_promise_no_more_images_than_there_are(bag: Path, tmp_path: Path, options: dict, total):
    bars = Bars()
    replay(Options([bag], tmp_path / "out", report=False, **options), bars)
    tasks = bars._progress.tasks
    assert [task.total for task in tasks] == [total] * 2
    assert all(task.completed == (total or 16) for task in tasks)


def test_what_is_odd_is_counted_and_named_and_the_rest_is_gazed_at(tmp_path: Path):
    clip = [*DrawnClip(96, 64, 12)]
    small = clip[3][:48]
    stamps = [0, 1, 1, 2, 3, -1, 0, 1, 2, 2, 1, 3]
    lines: list[tuple[str, int, Any]] = []
    for index, (picture, stamp) in enumerate(zip(clip, stamps, strict=True)):
        message: Any = raw(small if index == 3 else picture, START + stamp * STEP)
        if index == 8:
            message.encoding = "rgb9"
        lines.append(("/cam", START + index * STEP, message))
    lines.append(("/cam", START + 12 * STEP, b"\0\1\0\0 no image"))
    header = type_store().types["std_msgs/msg/Header"]
    time_of = type_store().types["builtin_interfaces/msg/Time"]
    lines.append(("/note", START + 13 * STEP, header(time_of(0, 0), "no image")))
    bag = write(tmp_path / "bag", lines)
    (bag / "metadata.yaml").unlink()
    summary = run(bag, tmp_path / "out", topics=["/cam", "/note", "/nope"])
    assert summary["frames"] == 11
    assert summary["dropped"] == {"encoding": 1, "message": 1}
    assert summary["problems"] == {
        "duplicate": 1, "encoding": 1, "loop": 1, "message": 1, "metadata": 1, "size_change": 2, "stamp": 1,
        "topic": 1, "type": 1,
    }  # fmt: skip
    found = table(tmp_path / "out", "problems.csv")
    assert [(p["index"], p["cause"]) for p in found if not p["topic"]] == [
        ("", "metadata"), ("", "topic"), ("", "type"),
    ]  # fmt: skip
    assert [(int(p["index"]), p["cause"]) for p in found if p["topic"]] == [
        (2, "duplicate"), (3, "size_change"), (4, "size_change"), (5, "loop"), (8, "encoding"), (10, "stamp"),
        (12, "message"),
    ]  # fmt: skip
    indices = [int(line["index"]) for line in table(tmp_path / "out", "frames.csv")]
    assert indices == [0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11]


@pytest.mark.parametrize("storage", ["MCAP", "SQLITE3"])
def test_a_bag_that_was_cut_off(tmp_path: Path, storage: str):
    bag = drawn(tmp_path / "bag", frames=60, storage=storage)
    (file,) = (f for f in bag.iterdir() if f.suffix != ".yaml")
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    run(drawn(tmp_path / "sound", frames=60, storage=storage), tmp_path / "sound_run")
    summary = run(bag, tmp_path / "out")
    assert 20 < summary["frames"] <= 31
    assert summary["problems"] == {"cut": 1}
    assert "ends in the middle" in summary["input problems"][0]
    frames, sound = (table(tmp_path / name, "frames.csv") for name in ("out", "sound_run"))
    assert frames == sound[: len(frames)]


def test_live_drops_what_a_busy_worker_would(bag: Path, tmp_path: Path):
    def indices(out: Path) -> list[int]:
        return [int(line["index"]) for line in table(out, "frames.csv")]

    options = {"live": True, "topics": ["/front/image_raw"]}
    summary = run(bag, tmp_path / "slow", cost=80.0, **options)
    # Free at 80 ms, when the third image (66 ms) waits; then at 160, with that of 132; and so on.
    expected, free, waiting = [0], 80.0, None
    for index in range(1, 40):
        arrival = index * 33.0
        if waiting is not None and free <= arrival:
            expected.append(waiting)
            free, waiting = free + 80, None
        if free <= arrival:
            expected.append(index)
            free = arrival + 80
        else:
            waiting = index
    expected += [waiting] if waiting is not None else []
    assert indices(tmp_path / "slow") == expected
    assert summary["dropped"] == {"overload": 40 - len(expected)}
    assert summary["mode"] == {"name": "live", "cost": "given", "cost_ms": {"/front/image_raw": 80.0}}
    run(bag, tmp_path / "again", cost=80.0, **options)
    assert contents(tmp_path / "again") == contents(tmp_path / "slow")
    run(bag, tmp_path / "fast", cost=5.0, **options)
    assert len(indices(tmp_path / "fast")) == 40
    measured = run(bag, tmp_path / "measured", **options)
    assert measured["mode"]["cost"] == "measured"
    assert measured["mode"]["cost_ms"]["/front/image_raw"] > 0


def test_a_fault_costs_one_frame(bag: Path, tmp_path: Path, monkeypatch):
    """As in the node."""
    step = Pipeline.step

    def failing(self, frame):
        self.failed = frame.stamp == START + 7 * STEP
        return 1 / 0 if self.failed else step(self, frame)

    monkeypatch.setattr(Pipeline, "step", failing)
    summary = run(bag, tmp_path / "out", topics=["front/image_raw"])
    assert summary["dropped"] == {"fault": 1}
    assert summary["frames"] == 39
    assert "ZeroDivisionError" in table(tmp_path / "out", "problems.csv")[0]["text"]


def test_one_bad_input_among_several(bag: Path, tmp_path: Path):
    (tmp_path / "text.mp4").write_text("no video")
    runs = replay(Options([bag, tmp_path / "text.mp4"], tmp_path / "out", report=False))
    assert [bool(run.error) for run in runs] == [False, True]
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    assert summary["failed"] == 1
    assert summary["frames"] == 80
    with pytest.raises(ClipError, match=r"text\.mp4"):
        run(tmp_path / "text.mp4", tmp_path / "other")


def test_a_video_and_a_folder_of_images(tmp_path: Path, pictures):
    import av
    import cv2

    with av.open(str(tmp_path / "clip.mkv"), "w") as container:
        stream = container.add_stream("mpeg4", rate=25, width=96, height=64)
        for picture in DrawnClip(96, 64, 10):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    folder = tmp_path / "pictures"
    folder.mkdir()
    for index, picture in enumerate(pictures):
        cv2.imwrite(str(folder / f"{index}.png"), picture)
    summary = run([tmp_path / "clip.mkv", folder], tmp_path / "out")
    assert [line["frames"] for line in summary["runs"]] == [10, 6]
    assert [line["folder"] for line in summary["runs"]] == ["clip", "pictures"]
    assert {line["topic"] for line in table(tmp_path / "out/clip", "frames.csv")} == {"/video"}


def test_what_only_looks_like_an_image_is_left_out(tmp_path: Path, pictures):
    import cv2

    folder = tmp_path / "pictures"
    (folder / "thumbs.png").mkdir(parents=True)
    cv2.imwrite(str(folder / "1.png"), pictures[0])
    (folder / "2.png").symlink_to(tmp_path / "gone.png")
    summary = run(folder, tmp_path / "out")
    assert summary["frames"] == 1
    assert summary["input problems"] == ["2.png leads to no file"]
    assert [line["name"] for line in summary["inputs"]] == ["1.png"]


def test_a_file_that_can_not_be_read_for_its_hash_costs_no_run(bag: Path, tmp_path: Path, monkeypatch):
    def failing(file: Path) -> str:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("autogaze_ros.replay.plan.sha256", failing)
    summary = run(bag, tmp_path / "out")
    assert summary["frames"] == 80
    assert summary["problems"] == {"hash": len(summary["inputs"])}
    assert {line["sha256"] for line in summary["inputs"]} == {""}
    assert "Input/output error" in table(tmp_path / "out", "problems.csv")[0]["text"]


def test_spreading_over_ray(bag: Path, tmp_path: Path):
    """Two workers of a cluster that is started here."""
    pytest.importorskip("ray", reason="Ray is not installed; it is an extra")
    run(bag, tmp_path / "one")
    run([bag, bag], tmp_path / "two", spread=Spread(2, "local"))
    for folder in ("two_cameras", "two_cameras_2"):
        assert contents(tmp_path / "two" / folder) == contents(tmp_path / "one")


def test_without_ray_the_remedy_is_named(bag: Path, tmp_path: Path, monkeypatch):
    find = __import__("importlib.util").util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "ray" else find(name))
    with pytest.raises(ClusterError, match="pip install ray"):
        run(bag, tmp_path / "out", spread=Spread(2, "auto"))


def test_no_ros_is_needed(bag: Path, tmp_path: Path):
    code = (
        "import sys; sys.modules['rclpy'] = None; sys.modules['autogaze_ros.msg'] = None\n"
        "from pathlib import Path; from autogaze_ros.replay.run import Options, replay\n"
        f"replay(Options([Path({str(bag)!r})], Path({str(tmp_path / 'out')!r}), report=False))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, env=os.environ)
    assert (tmp_path / "out/summary.json").exists()
