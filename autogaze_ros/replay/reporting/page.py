"""The page around the sections: one HTML file that loads nothing."""

from __future__ import annotations

import base64
import json
import math
import zlib
from collections.abc import Iterable, Sequence
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

_HERE = Path(__file__).parent
#: Forbids the browser to load anything, wherever the page's texts come from.
_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data: blob:; "
    "base-uri 'none'; form-action 'none'"
)


def page(title: str, header: str, body: str, charts: bool) -> str:
    """A whole HTML document.

    Args:
        title: as plain text.
        header: HTML under the title.
        body: HTML of the sections.
        charts: put in what draws charts: about 2 MB.
    """
    scripts = ""
    if charts:
        scripts = (
            f'<script type="text/plain" id="plotly">{_plotly()}</script>\n'
            f"<script>{(_HERE / 'report.js').read_text(encoding='utf-8')}</script>\n"
        )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        f"<title>{escape(title)}</title>\n"
        f"<style>{(_HERE / 'report.css').read_text(encoding='utf-8')}</style>\n</head>\n<body>\n"
        f"<header>{header}</header>\n<main>\n{body}\n</main>\n{scripts}</body>\n</html>\n"
    )


@cache
def _plotly() -> str:
    """Plotly's code, compressed: 2 MB instead of 4.8 MB in every report."""
    from plotly.offline import get_plotlyjs

    return base64.b64encode(zlib.compress(get_plotlyjs().encode(), 9)).decode()


def data(name: str, values: Any) -> str:
    """Values for the page's script, under an id."""
    text = json.dumps(values, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    # Where no "<" is, no text of an input can end the element.
    text = text.replace("<", r"\u003c")
    return f'<script type="application/json" id="{escape(name)}">{text}</script>'


def numbers(items: Sequence[tuple[str, str, str, str]]) -> str:
    """Big numbers: name, value, unit and a remark of each."""
    cells = "".join(
        f'<div><dt>{escape(name)}</dt><dd class="big">{escape(value)}'
        + (f"<small>{escape(unit)}</small>" if unit else "")
        + "</dd>"
        + (f'<dd class="sub">{escape(remark)}</dd>' if remark else "")
        + "</div>"
        for name, value, unit, remark in items
    )
    return f'<dl class="numbers">{cells}</dl>'


def table(
    head: Sequence[str],
    rows: Iterable[Sequence[str]],
    caption: str = "",
    numeric: Sequence[int] = (),
    marked: Sequence[int] = (),
) -> str:
    """A table of plain texts; the first column names the row.

    Args:
        head: texts of the head.
        rows: texts; a cell that begins with ``<`` and is of :class:`Html` is put in as it is.
        caption: above it.
        numeric: columns to align to the right.
        marked: rows to print bold.
    """

    def cell(text: str, column: int) -> str:
        inner = text if isinstance(text, Html) else escape(text)
        if column == 0:
            return f'<th scope="row">{inner}</th>'
        return f'<td class="{_kind(column, numeric)}">{inner}</td>'

    lines = [
        ("<tr class='changed'>" if number in marked else "<tr>")
        + "".join(cell(text, column) for column, text in enumerate(row))
        + "</tr>"
        for number, row in enumerate(rows)
    ]
    titles = "".join(
        f'<th scope="col" class="{_kind(column, numeric)}">{escape(text)}</th>'
        for column, text in enumerate(head)
    )
    above = f"<caption>{escape(caption)}</caption>" if caption else ""
    return (
        f'<div class="wide"><table>{above}<thead><tr>{titles}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def _kind(column: int, numeric: Sequence[int]) -> str:
    return "n" if column in numeric else "text"


class Html(str):
    """Text that is HTML already."""


def finite_or_none(values: Iterable[float], digits: int = 4) -> list[float | None]:
    """Numbers as JSON knows them, rounded; None for what is not finite."""
    return [round(v, digits) if math.isfinite(v) else None for v in map(float, values)]
