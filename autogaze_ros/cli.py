"""``autogaze``: the command line. Each command imports what it needs when it runs."""

from __future__ import annotations

import autogaze_ros._threads  # noqa: F401, I001  (before NumPy)

import sys
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Where a camera's gaze should go: demo, tools and benchmarks.")
bench = typer.Typer(no_args_is_help=True, help="Benchmarks; each writes JSON to standard output or a file.")
app.add_typer(bench, name="bench")

Out = Annotated[Optional[Path], typer.Option("--json", help="Write the JSON here instead of standard output.")]


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for gaze.mcap, overlay.mp4 and overlay.png.")] = Path("out/demo"),
    video: Annotated[str, typer.Option(help="Play this video instead of the drawn clip.")] = "",
    bag: Annotated[str, typer.Option(help="Play the images of this bag.")] = "",
    topic: Annotated[str, typer.Option(help="Image topic in the bag.")] = "",
    source: Annotated[str, typer.Option(help="Gaze source.")] = "greedy",
    budget: Annotated[int, typer.Option(help="Most tokens a frame.")] = 20,
    model: Annotated[str, typer.Option(help="Model folder for the source autogaze.")] = "",
) -> None:
    """Gaze at a clip as a camera would send it, over ROS topics, and show what came of it.

    Examples:
      autogaze demo
      autogaze demo --video clip.mp4 --budget 40
      autogaze demo --bag my_bag --topic /camera/image_raw
    """
    from .demo import run_demo
    from .ros.processes import DemoError

    camera = {name: value for name, value in (("video", video), ("bag", bag), ("bag_topic", topic)) if value}
    try:
        run_demo(out, camera, {"source": source, "budget": budget} | ({"model": model} if model else {}))
    except DemoError as error:
        sys.exit(f"autogaze demo: {error}")


@app.command()
def parameters() -> None:
    """Print the node's parameters as a Markdown table."""
    from .settings import markdown_table

    print(markdown_table(), end="")


@app.command("model-info")
def model_info(path: Annotated[Path, typer.Argument(help="Model folder.")]) -> None:
    """Say what a model folder holds; fails where it can't be loaded."""
    from .model import ModelError, info

    try:
        for name, value in info(path).items():
            print(f"{name.replace('_', ' ')}: {value}")
    except ModelError as error:
        sys.exit(f"autogaze model-info: {error}")


def _write(result: dict[str, Any], path: Path | None) -> None:
    import json

    text = json.dumps(result, indent=2)
    if path is None:
        print(text)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")


def main() -> None:
    """Entry of the console command."""
    app()
