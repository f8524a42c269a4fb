"""Reports: what a run, or many of them, come to, as one HTML file each that opens offline."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from ..settings import specs
from .reporting.combined import combined_page
from .reporting.figures import flat, settings_in_words, when
from .reporting.page import Html, page, table
from .reporting.sections import problems_card, topic_section
from .run_tables import RunError, RunTables, read_json

__all__ = ["RunError", "write_combined_report", "write_report", "write_reports"]


def write_report(run_folder: Path) -> Path:
    """Write report.html into a run's folder, of about 2.5 MB, from the tables there and the input that they name.

    The same folder and input give the same bytes.

    Args:
        run_folder: what a replay wrote.

    Returns:
        Path of the file.

    Raises:
        RunError: the folder is no run's, or its tables are damaged.
        OSError: the file can't be written.
    """
    run = RunTables.load(Path(run_folder))
    topics = run.topics
    path = run.folder / "report.html"
    path.write_text(
        page(f"Gaze: {run.name}", _header(run), _body(run, topics), bool(topics)), encoding="utf-8"
    )
    return path


def write_reports(folder: Path) -> list[Path]:
    """Write the report of each run of a replay of many inputs, and the combined one.

    Args:
        folder: that the replay wrote.

    Returns:
        Paths of the files, the combined one last.

    Raises:
        RunError: the folder holds no run, or damaged tables.
        OSError: a file can't be written.
    """
    paths = [write_report(run) for run in _runs(folder)[0]]
    return [*paths, write_combined_report(folder)]


def write_combined_report(run_folders: Sequence[Path] | Path, out: Path | None = None) -> Path:
    """Write one page over many runs: their figures side by side, and links to the report of each.

    Args:
        run_folders: what replays wrote, in the order in which to list them; or the one folder that a replay of many
            inputs wrote.
        out: path of the HTML file, whose folder is made; report.html in the one folder where None.

    Returns:
        Path of the file.

    Raises:
        RunError: no folders, one that is no run's, or damaged tables.
        OSError: the file can't be written.
    """
    failed: list[tuple[str, str]] = []
    if isinstance(run_folders, Path):
        out = out or run_folders / "report.html"
        run_folders, failed = _runs(run_folders)
    if not run_folders and not failed:
        raise RunError("a combined report needs at least one run")
    if out is None:
        raise RunError("a combined report of several folders needs a path to write to")
    out.parent.mkdir(parents=True, exist_ok=True)
    text = combined_page([Path(folder) for folder in run_folders], out.parent, failed)
    out.write_text(text, encoding="utf-8")
    return out


def _runs(folder: Path) -> tuple[list[Path], list[tuple[str, str]]]:
    """The runs in the folder of a replay of many inputs, and the inputs that failed with the reason."""
    summary = read_json(folder / "summary.json")
    if "runs" not in summary:
        raise RunError(f"{folder} is neither a finished run nor the folder of several: it has no frames.csv")
    good = [folder / run["folder"] for run in summary["runs"] if "error" not in run]
    return good, [(str(run["input"]), str(run["error"])) for run in summary["runs"] if "error" in run]


def _header(run: RunTables) -> str:
    frames = run.frames
    return (
        '<p class="over">Gaze report</p>'
        f"<h1>{escape(run.name)}</h1>"
        f'<p class="lead">{len(frames["index"]):,} frames, {escape(when(frames["stamp"]))}</p>'
        f'<p class="note">{escape(settings_in_words(run.summary))}.</p>'
    )


def _body(run: RunTables, topics: list[str]) -> str:
    parts = []
    if len(topics) > 1:
        links = "".join(f'<a href="#topic-{i}">{escape(topic)}</a>' for i, topic in enumerate(topics))
        parts.append(f'<nav aria-label="Topics">{links}<a href="#run">the run</a></nav>')
    parts += [topic_section(run, topic, number, len(topics) == 1) for number, topic in enumerate(topics)]
    if not topics:
        parts.append('<p class="note">The run holds no frames.</p>')
    parts.append('<section id="run"><h2>The run</h2>')
    whole = run.of_topic(run.problems, "")
    if len(whole["index"]):
        parts.append(problems_card(whole, "Problems of the input"))
    parts.append(f'<div class="card"><h3>Settings</h3>{_settings(run.summary.get("settings", {}))}</div>')
    parts.append(f'<div class="card"><h3>Where it comes from</h3>{_origin(run)}</div></section>')
    parts.append(
        "<footer>The page holds all that it shows and loads nothing. The charts’ camera button saves them as SVG."
        "</footer>"
    )
    return "".join(parts)


def _settings(settings: dict[str, Any]) -> str:
    known = specs()
    rows, marked = [], []
    for number, (name, value) in enumerate(flat(settings).items()):
        default, spec = known.get(name.rpartition(".")[2], (None, None))
        if spec is not None and value != default:
            marked.append(number)
        rows.append(
            (name, _text(value), _text(default) if spec is not None else "", spec.description if spec else "")
        )
    return table(
        ("setting", "value", "default", "what it does"), rows, "Bold: other than the default.", marked=marked
    )


def _origin(run: RunTables) -> str:
    shown: dict[str, Any] = {"input": str(run.input or "unknown")}
    for item in run.summary.get("inputs", []):
        name = item.get("name", "")
        shown |= {f"{name}: {key}": value for key, value in item.items() if key != "name"}
    for group in ("autogaze_ros", "source", "mode", "selection", "dropped", "timing", "host"):
        # What each topic or stage took is in the charts.
        shown |= {
            f"{group}: {name}": value
            for name, value in flat(run.summary.get(group, {})).items()
            if not name.startswith("compute_ms")
        }
    rows = [
        (name, Html(f'<span class="mono">{escape(_text(value))}</span>')) for name, value in shown.items()
    ]
    return table(("what", "value"), rows)


def _text(value: Any) -> str:
    if value == "" or value is None:
        return "–"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "–"
    return f"{value:g}" if isinstance(value, float) else str(value)
