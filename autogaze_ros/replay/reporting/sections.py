"""The section of one topic: figures, charts, heat map, scales, surprises, compute and problems."""

from __future__ import annotations

import math
from collections import Counter
from html import escape

import numpy as np

from ...gaze.tokens import DEFAULT_LAYOUT
from ...render import SCALE_COLOURS
from ..run_tables import Column, RunTables
from . import charts
from .dwell import Dwell, ScaleShare, dwell, scale_shares
from .figures import Figures, decibels, figures, percent, rounded, when
from .page import Html, data, numbers, table
from .pictures import InputPictures, colour_scale, data_url, heat_maps, read_pictures, without_seams
from .surprise import CEILING, Surprise, find_surprises

#: Rows of the table of problems; the file has them all.
PROBLEM_ROWS = 100
_WAIT = '<p class="wait">The chart is drawn by this page’s own script.</p>'


def topic_section(run: RunTables, topic: str, number: int, alone: bool) -> str:
    """HTML of a topic.

    Args:
        run: the tables.
        topic: which.
        number: its place in the page, for ids.
        alone: the only one, so that the page's head says what is said of all.
    """
    frames = run.of_topic(run.frames, topic)
    problems = run.of_topic(run.problems, topic)
    summary = figures(run, topic)
    parts = [big_numbers(summary, run.of_topic(run.problems, topic))]
    if summary.frames:
        fixations = run.fixations(topic)
        surprises = find_surprises(frames["psnr"], frames["tokens"], frames["keyframe_cause"])
        where = dwell(frames, fixations)
        assert where is not None  # there are frames
        size = where.density.shape[1], where.density.shape[0]
        pictures = read_pictures(run, topic, frames, fixations, [s.row for s in surprises], size)
        values, remark = charts.series(frames, problems)
        parts.append(
            '<div class="card"><h3>Tokens, gaze ratio and PSNR over time</h3>'
            f'<p class="note">{escape(remark)} Drag to zoom in, double-click to zoom out.</p>'
            f'<div class="chart series" data-chart="series" data-of="series-{number}" role="img" '
            f'aria-label="{escape(_chart_text(summary))}">{_WAIT}</div></div>'
            + data(f"series-{number}", values)
        )
        parts.append(f'<div class="pair">{_dwell_card(where, pictures, number)}<div>')
        parts.append(_scale_card(scale_shares(fixations), summary.frames))
        parts.append(_compute_card(run.of_topic(run.timing, topic)["compute_ms"], summary, number))
        parts.append("</div></div>")
        parts.append(_surprise_card(surprises, frames, pictures))
    if len(problems["index"]):
        parts.append(problems_card(problems))
    head = f'<h2>{escape(topic)}</h2><p class="note">{escape(_images(frames, alone))}</p>'
    return f'<section id="topic-{number}">{head}{"".join(parts)}</section>'


def big_numbers(summary: Figures, problems: dict[str, Column]) -> str:
    """The key figures of a topic."""
    identical = ""
    if summary.identical:
        identical = f"without {summary.identical:,} identical frames (∞); "
        identical += f"{decibels(summary.psnr_capped)} with 100 dB for them"
    if math.isinf(summary.psnr_mean):
        identical = "every frame identical"
    causes = ", ".join(f"{cause} {count}" for cause, count in sorted(Counter(problems["cause"]).items()))
    key = summary.keyframes
    split = f"{rounded(summary.steady_tokens)} without keyframes" if key and key < summary.frames else ""
    seen = f"{percent(summary.steady_gaze_ratio)} without keyframes" if split else ""
    return numbers(
        [
            ("frames", f"{summary.frames:,}", "", _counted(summary)),
            ("tokens a frame", rounded(summary.tokens), "", split),
            (
                "fewer than all",
                "–" if math.isnan(summary.fewer) else f"{summary.fewer:.1f}",
                "×",
                "all tokens / tokens spent",
            ),
            ("gaze ratio", percent(summary.gaze_ratio), "", seen),
            ("PSNR, mean", decibels(summary.psnr_mean), "dB", identical),
            ("PSNR, least", decibels(summary.psnr_min), "dB", f"{decibels(summary.psnr_pooled)} dB pooled"),
            (
                "compute p50",
                rounded(summary.compute_p50, 2),
                "ms",
                f"p99 {rounded(summary.compute_p99, 2)} ms",
            ),
            ("problems", f"{summary.problems:,}", "", causes or "none"),
        ]
    )


def problems_card(problems: dict[str, Column], title: str = "Problems") -> str:
    """The problems by cause, and the first of them one by one."""
    causes = ", ".join(f"{count} × {cause}" for cause, count in Counter(problems["cause"]).most_common())
    total = len(problems["index"])
    rows = [
        ("–" if index < 0 else f"{index}", "–" if stamp < 0 else f"{stamp / 1e9:.6f}", str(cause), str(text))
        for index, stamp, cause, text in zip(
            problems["index"][:PROBLEM_ROWS].tolist(),
            problems["stamp"][:PROBLEM_ROWS].tolist(),
            problems["cause"],
            problems["text"],
            strict=False,
        )
    ]
    more = f"; the first {PROBLEM_ROWS} are listed, all are in problems.csv" if total > PROBLEM_ROWS else ""
    content = table(("image", "stamp (s)", "cause", "what happened"), rows, numeric=(1,))
    return f'<div class="card"><h3>{escape(title)}</h3><p class="note">{escape(causes + more)}</p>{content}</div>'


def _dwell_card(where: Dwell, pictures: InputPictures, number: int) -> str:
    maps = heat_maps(where, pictures.mean)
    height, width = where.density.shape
    area = width * height
    y, x = np.unravel_index(int(np.argmax(without_seams(where.density))), where.density.shape)
    top = maps["density"][1] * area / max(float(where.density.sum()), 1e-12)
    scale = data_url(colour_scale())
    kinds = {
        "density": ("fixations per pixel", "0", f"{top:.1f} × the mean"),
        "seen": ("share of frames seen", "0 %", percent(maps["seen"][1])),
    }
    place = f"densest at column {x} of {width}, row {y} of {height}"
    switch, shown = "", ""
    for kind, (name, low, high) in kinds.items():
        on = " checked" if kind == "density" else ""
        switch += f'<label><input type="radio" name="map-{number}" value="{kind}"{on}> {name}</label>'
        alt = f"Heat map of {name} over the mean image; {place}."
        shown += (
            f'<div class="shown-{kind}"><img src="{data_url(maps[kind][0])}" alt="{escape(alt)}">'
            f'<div class="scale"><span>{low}</span><img src="{scale}" alt="" role="presentation">'
            f"<span>{escape(high)}</span></div></div>"
        )
    note = (
        "every frame is a keyframe" if where.keyframes else "keyframes, which look everywhere, are left out"
    )
    text = (
        f"{where.frames:,} frames ({note}). Fixations per pixel: each fixation counts once, spread evenly over "
        f"its cell; {place}."
    )
    if where.other_sizes:
        text += f" {where.other_sizes:,} frames of another size are not in it."
    if pictures.mean is None:
        text += f" Without the mean image below: {pictures.missing}."
    return (
        '<div class="card"><h3>Where the gaze dwells</h3>'
        f'<div class="switch">{switch}</div><figure>{shown}<figcaption>{escape(text)}</figcaption></figure></div>'
    )


def _scale_card(shares: list[ScaleShare], frames: int) -> str:
    tokens, area = sum(s.tokens for s in shares) or 1, sum(s.area for s in shares) or 1
    bars, rows = "", []
    for title, total, values in (
        ("tokens", tokens, [s.tokens for s in shares]),
        ("area", area, [s.area for s in shares]),
    ):
        spans = ""
        for share, value in zip(shares, values, strict=True):
            if value:
                red, green, blue = SCALE_COLOURS[share.scale % len(SCALE_COLOURS)]
                ink = "#000" if 0.3 * red + 0.59 * green + 0.11 * blue > 120 else "#fff"
                text = percent(value / total) if value / total > 0.11 else ""
                spans += (
                    f'<span style="width:{100 * value / total:.3f}%;background:rgb({red},{green},{blue});color:{ink}">'
                    f"{text}</span>"
                )
        bars += f'<span>{title}</span><div class="bar" aria-hidden="true">{spans}</div>'
    for share in shares:
        red, green, blue = SCALE_COLOURS[share.scale % len(SCALE_COLOURS)]
        grid = share.grid or (DEFAULT_LAYOUT.grids[share.scale] if share.scale < 4 else 0)
        name = Html(
            f'<span class="swatch" style="background:rgb({red},{green},{blue})"></span>{grid} × {grid}'
        )
        rows.append(
            (
                name,
                f"{share.tokens:,}",
                f"{share.tokens / frames:.2f}",
                percent(share.tokens / tokens),
                percent(share.area / area),
            )
        )
    return (
        '<div class="card"><h3>Share of each scale</h3>'
        f'<div class="bars">{bars}</div>'
        + table(("cells", "tokens", "a frame", "of tokens", "of area"), rows, numeric=(1, 2, 3, 4))
        + '<p class="note">Area: pixels of all cells, also where cells lie over each other; keyframes included.</p>'
        + "</div>"
    )


def _compute_card(compute: Column, summary: Figures, number: int) -> str:
    compute = compute[np.isfinite(compute)]
    if not len(compute):
        return '<div class="card"><h3>Compute</h3><p class="note">timing.csv has no times for this topic.</p></div>'
    values, remark = charts.histogram(compute)
    label = f"Histogram of the compute time; median {summary.compute_p50:.2f} ms, p99 {summary.compute_p99:.2f} ms."
    return (
        '<div class="card"><h3>Compute</h3>'
        f'<div class="chart histogram" data-chart="histogram" data-of="compute-{number}" role="img" '
        f'aria-label="{escape(label)}">{_WAIT}</div>'
        f'<p class="note">{escape(remark)}</p></div>' + data(f"compute-{number}", values)
    )


def _surprise_card(surprises: list[Surprise], frames: dict[str, Column], pictures: InputPictures) -> str:
    head = '<div class="card"><h3>The frames with the largest surprise</h3>'
    if not surprises:
        return f'{head}<p class="note">No frame stands out from its neighbours.</p></div>'
    note = (
        "Where the PSNR falls furthest below, or the tokens rise furthest above, the median of the 31 frames around; "
        f"planned keyframes aside, PSNR above {CEILING:.0f} dB taken as {CEILING:.0f} dB. Largest first; "
        "cells in the colours of their scales, as above."
    )
    if pictures.missing:
        note += f" Pictures are missing: {pictures.missing}."
    return (
        f'{head}<p class="note">{escape(note)}</p><div class="gallery">'
        + "".join(_surprise(s, frames, pictures) for s in surprises)
        + "</div></div>"
    )


def _surprise(surprise: Surprise, frames: dict[str, Column], pictures: InputPictures) -> str:
    row = surprise.row
    index, cause = int(frames["index"][row]), str(frames["keyframe_cause"][row])
    time = (int(frames["stamp"][row]) - int(frames["stamp"][0])) / 1e9
    quality = f"{decibels(float(frames['psnr'][row]))} dB, around it {decibels(surprise.usual_psnr)} dB"
    spent = f"{int(frames['tokens'][row])} tokens, around it {surprise.usual_tokens:.0f}"
    first, second = (spent, quality) if surprise.by_tokens else (quality, spent)
    what = f"Frame {index} at {time:.2f} s" + (f", keyframe ({cause})" if cause else "")
    picture = pictures.overlays.get(index)
    image = ""
    if picture is not None:
        alt = f"{what}, with its gazed cells in the colours of their scales."
        image = f'<img src="{data_url(picture)}" alt="{escape(alt)}" loading="lazy">'
    return f"<figure>{image}<figcaption><b>{escape(what)}</b><br>{first}<br>{second}</figcaption></figure>"


def _chart_text(summary: Figures) -> str:
    return (
        f"Line charts over {summary.frames} frames: {rounded(summary.tokens)} tokens a frame, gaze ratio "
        f"{percent(summary.gaze_ratio)}, PSNR {decibels(summary.psnr_mean)} dB in the mean and "
        f"{decibels(summary.psnr_min)} dB at least."
    )


def _images(frames: dict[str, Column], alone: bool) -> str:
    sizes = sorted({*zip(frames["width"].tolist(), frames["height"].tolist(), strict=True)})
    return ", ".join([*(f"{w} × {h} pixels" for w, h in sizes), *([] if alone else [when(frames["stamp"])])])


def _counted(summary: Figures) -> str:
    lost = ", ".join(f"{count:,} dropped ({cause})" for cause, count in summary.dropped.items())
    return f"{summary.keyframes:,} keyframe{'' if summary.keyframes == 1 else 's'}" + (lost and f", {lost}")
