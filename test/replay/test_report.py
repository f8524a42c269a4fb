"""The report: its figures are those of the tables, nothing is lost on the way, and it loads nothing."""

from __future__ import annotations

import base64
import csv
import json
import math
import re
import shutil
import statistics
import subprocess
import sys
import zlib
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parent))  # the helpers beside this file

from recordings import drawn
from run_folders import Row, write_run

from autogaze_ros.cli import app
from autogaze_ros.replay.report import RunError, write_combined_report, write_report
from autogaze_ros.replay.reporting.dwell import dwell, scale_shares
from autogaze_ros.replay.reporting.series import decimate, moving_average
from autogaze_ros.replay.reporting.surprise import NEIGHBOURS, find_surprises
from autogaze_ros.replay.run import Options, replay
from autogaze_ros.replay.run_tables import RunTables


class Page(HTMLParser):
    """What a page shows and what it could load."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.links: list[tuple[str, str, str]] = []
        self.figures: list[dict[str, str]] = []  # big numbers of each section, by name
        self.data: dict[str, str] = {}
        self.images: list[dict[str, str | None]] = []
        self.words = ""
        self._open: list[tuple[str, dict[str, str | None]]] = []
        self._name = ""
        self.feed(self.source)

    def handle_starttag(self, tag, attributes):
        named = dict(attributes)
        self.links += [
            (tag, n, v or "") for n, v in attributes if n in ("src", "href", "srcset", "action", "data")
        ]
        if tag == "img":
            self.images.append(named)
        if tag == "dl":
            self.figures.append({})
        if tag not in ("img", "meta", "br", "input", "link", "polyline"):
            self._open.append((tag, named))

    def handle_endtag(self, tag):
        while self._open and self._open.pop()[0] != tag:
            pass

    def handle_data(self, data):
        tag, named = self._open[-1] if self._open else ("", {})
        if tag == "script":
            self.data[named.get("id") or "code"] = data
        elif tag != "style":
            self.words += data
        if tag == "dt":
            self._name = data
        if tag == "dd" and named.get("class") == "big":
            self.figures[-1][self._name] = data

    def series(self, number: int = 0) -> dict:
        return json.loads(self.data[f"series-{number}"])


@pytest.fixture(scope="module")
def recorded(tmp_path_factory) -> tuple[Path, Path]:
    """A bag of two cameras and the folder of its run."""
    folder = tmp_path_factory.mktemp("report")
    bag = drawn(folder / "bag", 40, cameras=2)
    replay(Options([bag], folder / "run", report=False))
    return bag, folder / "run"


@pytest.fixture(scope="module")
def page(recorded) -> Page:
    return Page(write_report(recorded[1]))


def rows(run: Path, name: str, topic: str) -> list[dict[str, str]]:
    with (run / name).open(newline="") as file:
        return [row for row in csv.DictReader(file) if row["topic"] == topic]


def test_key_figures_are_those_of_the_tables(recorded, page: Page):
    topics = ("/front/image_raw", "/rear/image_raw/compressed")
    assert len(page.figures) == len(topics)
    for topic, shown in zip(topics, page.figures, strict=True):
        frames, timing = rows(recorded[1], "frames.csv", topic), rows(recorded[1], "timing.csv", topic)
        psnr = [float(row["psnr"]) for row in frames]
        assert shown["frames"] == f"{len(frames)}"
        assert shown["tokens a frame"] == f"{statistics.mean(int(row['tokens']) for row in frames):.1f}"
        fewer = 1 / statistics.mean(float(row["token_ratio"]) for row in frames)
        assert shown["fewer than all"] == f"{fewer:.1f}"
        assert shown["gaze ratio"] == f"{100 * statistics.mean(float(r['gaze_ratio']) for r in frames):.1f} %"
        assert shown["PSNR, mean"] == f"{statistics.mean(psnr):.1f}"
        assert shown["PSNR, least"] == f"{min(psnr):.1f}"
        assert shown["compute p50"] == f"{statistics.median(float(row['compute_ms']) for row in timing):.2f}"
        assert shown["problems"] == "0"


def test_the_charts_hold_every_frame_of_a_short_run(recorded, page: Page):
    frames = rows(recorded[1], "frames.csv", "/front/image_raw")
    series = page.series()
    lines = {line["name"]: line["values"] for line in series["lines"]}
    assert lines["tokens"] == [int(row["tokens"]) for row in frames]
    assert lines["PSNR"] == pytest.approx([float(row["psnr"]) for row in frames], abs=1e-4)
    assert series["x"][1] == pytest.approx(0.033)
    assert list(series["events"]) == sorted({r["keyframe_cause"] for r in frames} - {""})
    counts = json.loads(page.data["compute-0"])["counts"]
    assert len(frames) - 2 <= sum(counts) <= len(frames)


def test_nothing_is_loaded(page: Page):
    for tag, name, value in page.links:
        assert value.startswith(("data:image/", "#")), f"<{tag} {name}={value[:60]}>"
    assert "default-src 'none'" in page.source
    style = re.search(r"<style>(.*?)</style>", page.source, re.DOTALL)
    assert style
    assert "url(" not in style[1]
    assert "@import" not in style[1]
    assert "http" not in page.data["code"]
    from plotly.offline import get_plotlyjs

    assert zlib.decompress(base64.b64decode(page.data["plotly"])).decode() == get_plotlyjs()
    assert len(page.source) < 3_000_000


def test_every_picture_says_what_it_shows(page: Page):
    assert any("Heat map" in (image["alt"] or "") for image in page.images)
    assert any("gazed cells" in (image["alt"] or "") for image in page.images)
    for image in page.images:
        assert image["alt"] or image.get("role") == "presentation"


def test_the_same_run_gives_the_same_bytes(recorded, page: Page):
    assert write_report(recorded[1]).read_text(encoding="utf-8") == page.source


def test_the_input_is_found_from_anywhere(tmp_path: Path, monkeypatch):
    """Also where it was named as seen from the folder that the replay ran in."""
    bag = drawn(tmp_path / "recordings" / "bag", 12)
    monkeypatch.chdir(bag.parent)
    replay(Options([Path("bag")], tmp_path / "run", report=False))
    monkeypatch.chdir(tmp_path)
    page = Page(write_report(tmp_path / "run"))
    assert any("gazed cells" in (image["alt"] or "") for image in page.images)
    plan = json.loads((tmp_path / "run/plan.json").read_text())
    (tmp_path / "run/plan.json").write_text(json.dumps(plan | {"path": "/moved/bag"}))
    monkeypatch.chdir(bag.parent)
    assert any("gazed cells" in (i["alt"] or "") for i in Page(write_report(tmp_path / "run")).images)


@pytest.mark.parametrize("fate", ["gone", "another"])
def test_an_input_that_is_no_longer_the_same_is_named(recorded, tmp_path: Path, fate: str):
    run = shutil.copytree(recorded[1], tmp_path / "run")
    plan = json.loads((run / "plan.json").read_text())
    other = tmp_path / "other"
    if fate == "another":
        drawn(other, 40)
        shifted = (run / "frames.csv").read_text().replace(",16999", ",16998").replace(",17000", ",16990")
        (run / "frames.csv").write_text(shifted)
    (run / "plan.json").write_text(json.dumps(plan | {"input": str(other), "path": str(other)}))
    page = Page(write_report(run))
    assert ("can't be read any more" if fate == "gone" else "is not the one that was replayed") in page.words
    assert not any("gazed cells" in (image["alt"] or "") for image in page.images)
    assert any("Heat map" in (image["alt"] or "") for image in page.images)


def test_a_long_run_is_thinned_out_but_keeps_its_extremes(tmp_path: Path):
    frames = [Row((i % 265,), 40 + 0.1 * math.sin(i)) for i in range(12_000)]
    frames[0].cause = "start"
    frames[7_777] = Row((0,), 21.0)
    frames[9_999] = Row(range(265), 40.0)
    page = Page(write_report(write_run(tmp_path / "run", {"/cam": frames})))
    series = page.series()
    lines = {line["name"]: line["values"] for line in series["lines"]}
    assert min(lines["PSNR"]) == 21.0
    assert max(lines["tokens"]) == 265
    assert series["x"][lines["PSNR"].index(21.0)] == pytest.approx(7_777 * 0.033)
    assert len(series["x"]) < 6_000
    assert f"{len(series['x']):,} of 12,000 frames are drawn" in page.words
    assert page.figures[0]["PSNR, least"] == "21.0"
    assert "Frame 7777" in page.words
    assert len(page.source) < 3_000_000


def test_identical_frames_have_no_finite_psnr_and_are_counted(tmp_path: Path):
    frames = [Row(psnr=40.0), Row(psnr=math.inf), Row(psnr=30.0), Row((), math.inf)]
    page = Page(write_report(write_run(tmp_path / "run", {"/cam": frames, "/still": frames[1::2]})))
    assert page.figures[0]["PSNR, mean"] == "35.0"
    assert "without 2 identical frames (∞); 67.5 with 100 dB for them" in page.words
    assert page.series()["lines"][2]["values"] == [40.0, None, 30.0, None]
    assert len(page.series()["identical"]["x"]) == 2
    pooled = -10 * math.log10((1e-4 + 1e-3) / 4)
    assert f"{pooled:.1f} dB pooled" in page.words
    assert page.figures[1]["PSNR, mean"] == page.figures[1]["PSNR, least"] == "∞"


def test_stamps_that_go_back_are_drawn_by_frame(tmp_path: Path):
    frames = [Row(stamp=5), Row(stamp=3), Row(stamp=9)]
    series = Page(write_report(write_run(tmp_path / "run", {"/cam": frames}))).series()
    assert (series["x"], series["seconds"]) == ([0, 1, 2], False)


def test_problems_are_listed_and_marked_and_their_texts_are_only_texts(tmp_path: Path):
    bad = "</script><script>alert(1)</script><img src=x>"
    problems = [
        ("/cam", 1, 33_000_000, bad, bad),
        ("/cam", "", "", "message", "b"),
        ("", "", "", "cut", "whole input"),
    ]
    run = write_run(tmp_path / "run", {"/cam": [Row(), Row(index=2, stamp=66_000_000)]}, problems=problems)
    page = Page(write_report(run))
    assert page.figures[0]["problems"] == "2"
    assert bad in page.words
    assert "whole input" in page.words
    assert not [image for image in page.images if image.get("src") == "x"]
    assert page.series()["events"]["problem"]["x"] == [0.066]  # the frame after the image that gave none


def test_a_run_without_frames_still_gives_a_page(tmp_path: Path):
    run = write_run(tmp_path / "run", {}, problems=[("/cam", 0, "", "message", "broken")])
    page = Page(write_report(run))
    assert page.figures[0]["frames"] == "0"
    assert "broken" in page.words
    both = Page(write_combined_report([run], tmp_path / "both.html"))
    assert "broken" in both.words
    assert not any(word.strip("%×, ") == "nan" for word in both.words.split())


def test_all_runs_on_one_page(recorded, tmp_path: Path):
    root = tmp_path / "many"
    shutil.copytree(recorded[1], root / "good")
    other = write_run(root / "other", {"/cam": [Row(), Row((), math.inf)]})
    lines = [{"folder": name, "input": name} for name in ("good", "other")]
    lines.append({"folder": "bad", "input": "bad.mcap", "error": "no such bag"})
    (root / "summary.json").write_text(json.dumps({"runs": lines}))
    write_report(other)
    (root / "good" / "report.html").unlink(missing_ok=True)
    page = Page(write_combined_report(root))
    assert page.figures[0]["frames"] == "82"
    assert "no such bag" in page.words
    links = {value for tag, _, value in page.links if tag == "a"}
    assert links == {"other/report.html"}
    assert len(page.source) < 60_000
    assert (
        Page(write_combined_report([root / "good", other], tmp_path / "both.html")).figures[0]["runs"] == "2"
    )
    with pytest.raises(RunError, match="at least one"):
        write_combined_report([], tmp_path / "none.html")


def test_the_command_writes_reports_and_refuses_what_is_no_run(recorded, tmp_path: Path):
    result = CliRunner().invoke(app, ["report", str(recorded[1]), "-o", str(tmp_path / "all.html")])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "all.html").is_file()
    result = CliRunner().invoke(app, ["report", str(tmp_path)])
    assert isinstance(result.exception, RunError)
    (recorded[1] / "broken").mkdir()
    (recorded[1] / "broken" / "frames.csv").write_text("topic,index\n/cam,0\n")
    (recorded[1] / "broken" / "summary.json").write_text("{}")
    with pytest.raises(RunError, match=r"frames\.csv"):
        write_report(recorded[1] / "broken")


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True, width=32), max_size=400), st.integers(4, 100))
def test_decimation_keeps_extremes_and_ends(values: list[float], points: int):
    kept = decimate(np.array(values, float), points)
    finite = [i for i, v in enumerate(values) if math.isfinite(v)]
    assert list(kept) == sorted(set(kept.tolist()))
    assert len(kept) <= points + 2
    if len(values) > points and finite:
        shown = [values[i] for i in kept.tolist()]
        assert min(shown) == min(values[i] for i in finite)
        assert max(shown) == max(values[i] for i in finite)
        assert 0 in kept or not math.isfinite(values[0])


@given(
    st.lists(st.sampled_from([1.0, 2.5, -3.0, math.inf, math.nan]), max_size=30), st.sampled_from([1, 3, 5])
)
def test_moving_average_is_the_mean_of_what_is_finite(values: list[float], window: int):
    for at, mean in enumerate(moving_average(np.array(values, float), window).tolist()):
        near = [v for v in values[max(0, at - window // 2) : at + window // 2 + 1] if math.isfinite(v)]
        assert mean == pytest.approx(statistics.mean(near)) if near else math.isnan(mean)


def test_dwell_and_shares_against_counted_pixels(tmp_path: Path):
    rng = np.random.default_rng(3)
    frames = [Row(range(100), cause="start")]
    frames += [Row(rng.choice(265, 8, replace=False).tolist()) for _ in range(20)] + [Row(())]
    run = RunTables.load(write_run(tmp_path / "run", {"/cam": frames}))
    fixations = run.fixations("/cam")
    density, seen = np.zeros((48, 64)), np.zeros((48, 64))
    area = np.zeros(4, int)
    for index in range(len(frames)):
        mask = np.zeros((48, 64), bool)
        for (x0, y0, x1, y1), scale in zip(
            fixations.boxes[fixations.of(index)], fixations.scale[fixations.of(index)], strict=True
        ):
            area[scale] += (x1 - x0) * (y1 - y0)
            if index:  # not of the keyframe
                mask[y0:y1, x0:x1] = True
                density[y0:y1, x0:x1] += 1 / ((x1 - x0) * (y1 - y0))
        seen += mask
    found = dwell(run.of_topic(run.frames, "/cam"), fixations)
    assert found
    np.testing.assert_allclose(found.density, density / 21, atol=1e-12)
    np.testing.assert_allclose(found.seen, seen / 21)
    assert [share.area for share in scale_shares(fixations)] == area.tolist()
    assert sum(share.tokens for share in scale_shares(fixations)) == 260


def test_surprises_are_the_largest_falls_and_rises_apart_from_plans():
    count = 400
    psnr, tokens = np.full(count, 40.0), np.full(count, 20)
    causes = np.array([""] * count, object)
    psnr[100], psnr[103], psnr[200] = 20.0, 25.0, 31.0
    tokens[300] = 150
    tokens[0] = tokens[350] = 198
    causes[0], causes[350] = "start", "interval"
    psnr[390] = math.inf
    found = find_surprises(psnr, tokens, causes)
    assert [s.row for s in found] == [300, 100, 200]
    assert found[0].by_tokens
    assert not found[1].by_tokens
    assert found[1].usual_psnr == 40.0
    assert found[0].usual_tokens == 20
    rows = sorted(s.row for s in found)
    assert min(np.diff(rows)) > NEIGHBOURS
    assert find_surprises(np.full(3, math.inf), np.zeros(3, int), causes[:3]) == []


@pytest.mark.skipif(not shutil.which("chromium"), reason="needs Chromium")
def test_a_browser_draws_the_charts_without_an_error(recorded, page: Page, tmp_path: Path):
    command = [
        "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr",
        f"--user-data-dir={tmp_path}", "--window-size=390,9000", "--virtual-time-budget=20000", "--dump-dom",
        (recorded[1] / "report.html").as_uri(),
    ]  # fmt: skip
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert "CONSOLE" not in result.stderr
    drawn_charts = len(re.findall(r'class="[^"]*svg-container', result.stdout))
    assert drawn_charts == 4, "two charts for each of two topics"
    assert "the chart is drawn by" not in result.stdout.lower()
