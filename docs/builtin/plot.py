"""Draws what `autogaze bench quality` and `autogaze bench threshold` wrote; needs matplotlib (see --help)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer


def plot_quality(results: list[dict[str, Any]], out: Path) -> None:
    """PSNR against tokens a frame, one picture a clip, one line a source."""
    from matplotlib import pyplot

    rows = [row for result in results for row in result["rows"]]
    clips = list(dict.fromkeys(row["clip"] for row in rows))
    figure, axes = pyplot.subplots(1, len(clips), figsize=(5 * len(clips), 4), squeeze=False, sharey=True)
    for axis, clip in zip(axes[0], clips, strict=True):
        for index, source in enumerate(dict.fromkeys(row["source"] for row in rows)):
            mine = [row for row in rows if row["clip"] == clip and row["source"] == source]
            tokens = [row["tokens a frame"] for row in mine]
            axis.plot(tokens, [row["psnr mean (dB)"] for row in mine], "o-", color=f"C{index}", label=source)
            axis.plot(tokens, [row["psnr min (dB)"] for row in mine], ":", color=f"C{index}")
        axis.set(title=Path(clip).name, xlabel="tokens a frame")
        axis.grid(alpha=0.3)
    axes[0][0].set_ylabel("PSNR of the token picture, dB (dotted: worst frame)")
    axes[0][0].legend()
    figure.tight_layout()
    figure.savefig(out, dpi=100)


def plot_threshold(result: dict[str, Any], out: Path) -> None:
    """True against predicted PSNR before each token, one line a clip and target."""
    from matplotlib import pyplot

    figure, axis = pyplot.subplots(figsize=(5, 4.5))
    axis.plot((10, 60), (10, 60), "k--", linewidth=0.8, label="as predicted")
    for row in result["rows"]:
        curve = [
            (predicted, true)
            for predicted, true, count in row["predicted dB, true dB, tokens"]
            if count >= 10
        ]
        label = f"{Path(row['clip']).name}, until {row['target (dB)']:g} dB"
        axis.plot(*zip(*curve, strict=True), ".-", label=label)
    axis.set(xlabel="predicted, dB", ylabel="true mean, dB")
    axis.grid(alpha=0.3)
    axis.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(out, dpi=100)


def main(
    out: Annotated[Path, typer.Argument(help="Folder for quality.png and threshold.png.")],
    quality: Annotated[list[Path], typer.Option(help="JSON of bench quality; may be given again.")],
    threshold: Annotated[Path, typer.Option(help="JSON of bench threshold.")],
) -> None:
    """Draw both pictures (needs matplotlib)."""
    out.mkdir(parents=True, exist_ok=True)
    plot_quality([json.loads(path.read_text()) for path in quality], out / "quality.png")
    plot_threshold(json.loads(threshold.read_text()), out / "threshold.png")


if __name__ == "__main__":
    typer.run(main)
