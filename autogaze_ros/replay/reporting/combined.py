"""One page over many runs: their figures side by side, each with a link to its own report."""

from __future__ import annotations

import os
from collections.abc import Sequence
from html import escape
from pathlib import Path
from urllib.parse import quote

import numpy as np

from ..run_tables import Column, RunTables
from .figures import decibels, figures, percent, rounded, settings_in_words
from .page import Html, numbers, page, table
from .series import decimate

_HEAD = (
    "run", "topic", "frames", "keyframes", "tokens a frame", "fewer than all", "gaze ratio", "PSNR mean (dB)",
    "PSNR least (dB)", "PSNR over time", "compute p50 (ms)", "p99 (ms)", "problems",
)  # fmt: skip


def combined_page(folders: Sequence[Path], beside: Path, failed: Sequence[tuple[str, str]]) -> str:
    """The HTML of a report on many runs.

    Args:
        folders: of the runs; one is held in memory at a time.
        beside: folder of the page, from which links lead to the runs' own reports where these are.
        failed: inputs of which there is no run, and why.

    Raises:
        RunError: a folder that is no run's, or damaged tables.
    """
    rows: list[tuple[str, ...]] = []
    words: dict[str, list[str]] = {}
    wrong: list[tuple[str, ...]] = []
    frames = tokens = problems = 0
    error, measured, ratio = 0.0, 0, 0.0
    for folder in folders:
        run = RunTables.load(folder)
        name = run.name
        words.setdefault(settings_in_words(run.summary), []).append(name)
        link = _link(name, folder, beside)
        for topic in run.topics:
            f = figures(run, topic)
            table_of = run.of_topic(run.frames, topic)
            psnr = table_of["psnr"]
            rows.append(
                (
                    link, topic, f"{f.frames:,}", f"{f.keyframes:,}", rounded(f.tokens), _times(f.fewer),
                    percent(f.gaze_ratio), decibels(f.psnr_mean), decibels(f.psnr_min), _spark(psnr),
                    rounded(f.compute_p50, 2), rounded(f.compute_p99, 2), f"{f.problems:,}",
                )
            )  # fmt: skip
            frames, tokens = frames + f.frames, tokens + int(table_of["tokens"].sum())
            known = psnr[~np.isnan(psnr)]
            error, measured = error + float((10 ** (-known / 10)).sum()), measured + len(known)
            ratio += float(table_of["token_ratio"].sum())
        problems += len(run.problems["index"])
        causes = run.problems["cause"]
        for cause in sorted(set(causes)):
            one = str(run.problems["text"][causes == cause][0])
            wrong.append((link, str(cause), f"{int((causes == cause).sum()):,}", one))
    pooled = -10 * np.log10(error / measured) if error else np.inf if measured else np.nan
    totals = numbers(
        [
            (
                "runs",
                f"{len(folders):,}",
                "",
                f"{len(rows):,} topics" + (f", {len(failed)} failed" if failed else ""),
            ),
            ("frames", f"{frames:,}", "", ""),
            ("tokens a frame", f"{tokens / frames:.1f}" if frames else "–", "", "over all frames"),
            ("fewer than all", f"{frames / ratio:.1f}" if ratio else "–", "×", "all tokens / tokens spent"),
            ("PSNR, pooled", decibels(float(pooled)), "dB", "of the mean square error"),
            ("problems", f"{problems:,}", "", ""),
        ]
    )
    body = (
        totals
        + f'<div class="card"><h3>Run by run</h3>{table(_HEAD, rows, numeric=(2, 3, 4, 5, 6, 7, 8, 10, 11, 12))}'
    )
    body += (
        '<p class="note">PSNR mean: over frames with a finite one; ∞ where every frame is identical. The small curves '
        "keep the lowest and highest of each stretch; each has a scale of its own.</p></div>"
    )
    if failed:
        body += f'<div class="card"><h3>Failed</h3>{table(("input", "why"), failed)}</div>'
    if wrong:
        listed = table(("run", "cause", "count", "such as"), wrong, numeric=(2,))
        body += f'<div class="card"><h3>Problems</h3>{listed}</div>'
    said = [(text, ", ".join(names)) for text, names in words.items()]
    body += f'<div class="card"><h3>Settings</h3>{table(("settings", "runs"), said)}</div>'
    header = (
        f'<p class="over">Gaze report</p><h1>{len(folders):,} runs</h1><p class="note">{frames:,} frames.</p>'
    )
    return page(f"Gaze: {len(folders)} runs", header, body, False)


def _times(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.1f} ×"


def _link(name: str, folder: Path, beside: Path) -> str:
    report = folder / "report.html"
    if not report.is_file():
        return name
    target = quote(Path(os.path.relpath(report.resolve(), beside.resolve())).as_posix())
    return Html(f'<a href="{target}">{escape(name)}</a>')


def _spark(values: Column) -> Html:
    """A small curve of the finite values."""
    finite = values[np.isfinite(values)]
    if len(finite) < 2:
        return Html("–")
    kept = decimate(finite, 120)
    low, high = float(finite.min()), float(finite.max())
    x = kept / (len(finite) - 1) * 118 + 1
    y = 26 - (finite[kept] - low) / max(high - low, 1e-9) * 24
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
    return Html(
        f'<svg class="spark" viewBox="0 0 120 28" role="img" aria-label="PSNR from {low:.1f} to {high:.1f} dB">'
        f'<polyline points="{points}" fill="none" stroke="currentColor" stroke-width="1"/></svg>'
    )
