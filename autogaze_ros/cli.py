"""``autogaze``: the command line. Each command imports what it needs when it runs."""

from __future__ import annotations

# isort: off
import autogaze_ros._process  # noqa: F401  (before NumPy)
# isort: on

import importlib.util
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from . import __version__
from .errors import AutogazeError
from .replay.command import replay

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
)
bench = typer.Typer(no_args_is_help=True, help="Benchmarks; each writes JSON to standard output or a file.")
app.add_typer(bench, name="bench")
app.command()(replay)

Out = Annotated[Path | None, typer.Option("--json", help="Write the JSON here instead of standard output.")]


def _version(wanted: bool) -> None:
    if wanted:
        print(f"autogaze_ros {__version__}")
        raise typer.Exit


@app.callback()
def _autogaze(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Where a camera's gaze should go: demo, tools and benchmarks."""


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for gaze.mcap, overlay.mp4 and overlay.png.")] = Path(
        "out/demo"
    ),
    video: Annotated[str, typer.Option(help="Play this video instead of the drawn clip.")] = "",
    bag: Annotated[str, typer.Option(help="Play the images of this bag.")] = "",
    topic: Annotated[str, typer.Option(help="Image topic in the bag.")] = "",
    source: Annotated[
        str, typer.Option(help="Gaze source; without one greedy, then the model on the same clip.")
    ] = "",
    budget: Annotated[int, typer.Option(help="Most tokens a frame.")] = 20,
    model: Annotated[str, typer.Option(help="Model folder for the source autogaze, or builtin.")] = "builtin",
) -> None:
    """Gaze at a clip as a camera would send it, over ROS topics, and show what came of it.

    Examples:
      autogaze demo
      autogaze demo --video clip.mp4 --budget 40
      autogaze demo --bag my_bag --topic /camera/image_raw --source patch_diff
    """
    from .demo import run_demo

    camera = {name: value for name, value in (("video", video), ("bag", bag), ("bag_topic", topic)) if value}
    sources = [source] if source else ["greedy", "autogaze"]
    if not source and importlib.util.find_spec("torch") is None:
        print("PyTorch is not installed: the demo goes without the source autogaze", file=sys.stderr)
        sources = ["greedy"]
    nodes = {name: {"source": name, "budget": budget} for name in sources}
    if "autogaze" in nodes:
        nodes["autogaze"]["model"] = model
    run_demo(out, camera, nodes)


@app.command()
def views(
    out: Annotated[Path, typer.Option(help="Folder for one picture a view.")] = Path("out/views"),
    video: Annotated[Path | None, typer.Option(help="Use this clip instead of the drawn one.")] = None,
    frame: Annotated[
        int | None, typer.Option(min=0, help="Which frame to show: 100, or the last of a shorter clip.")
    ] = None,
    source: Annotated[str, typer.Option(help="Gaze source.")] = "greedy",
    budget: Annotated[int, typer.Option(help="Most tokens a frame.")] = 20,
    resolution: Annotated[str, typer.Option(help="resize, tile_grid or tile_exact.")] = "resize",
) -> None:
    """Draw every view of one frame of a clip, after gazing at all frames before it."""
    from .render.gallery import draw_gallery
    from .settings import Settings

    settings = Settings.from_mapping({"source": source, "budget": budget, "resolution": resolution})
    draw_gallery(out, video, frame, settings)


@app.command()
def report(
    runs: Annotated[
        list[Path], typer.Argument(help="Run folders, or the folder that a replay of many wrote.")
    ],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Also write one page over all of these runs here.")
    ] = None,
) -> None:
    """Write report.html into a run's folder: one page that opens offline, of what the replay did.

    Examples:
      autogaze report out/run
      autogaze report out/day_1 out/day_2 -o out/both.html
    """
    from .replay.report import write_combined_report, write_report, write_reports

    for run in runs:
        for path in [write_report(run)] if (run / "frames.csv").is_file() else write_reports(run):
            print(path)
    if out is not None:
        print(write_combined_report(runs, out))


@app.command()
def compare(
    run_a: Annotated[Path, typer.Argument(help="Run folder.")],
    run_b: Annotated[Path, typer.Argument(help="Another, of the same input.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for compare.json and compare.png.")] = Path(
        "out/compare"
    ),
    tolerance: Annotated[
        float, typer.Option(help="Largest difference in PSNR (dB), confidence and loss that counts as none.")
    ] = 0.0,
) -> None:
    """Compare two runs frame by frame; status 0 where they are equal, 1 where they differ, 2 on an error.

    Examples:
      autogaze compare out/main out/branch
      autogaze compare out/greedy out/model -o out/models
    """
    from rich.console import Console

    from .replay.compare import RunError, compare_runs
    from .replay.compare_output import print_table, write_json
    from .replay.compare_picture import write_picture

    try:
        comparison = compare_runs(run_a, run_b, tolerance)
        write_json(comparison, out / "compare.json")
        write_picture(comparison, out / "compare.png")
    except (RunError, OSError) as error:
        print(f"autogaze compare: {error}", file=sys.stderr)
        raise typer.Exit(2) from None
    print_table(comparison, Console())
    print(f"{out / 'compare.json'}, {out / 'compare.png'}")
    raise typer.Exit(0 if comparison.equal else 1)


@app.command()
def parameters() -> None:
    """Print the node's parameters as a Markdown table."""
    from .settings import markdown_table

    print(markdown_table(), end="")


@app.command("model-info")
def model_info(path: Annotated[str, typer.Argument(help="Model folder, or builtin.")]) -> None:
    """Say what a model folder holds; fails where it can't be loaded."""
    _need_torch()
    from .model import info
    from .resources import model_folder

    for name, value in info(model_folder(path)).items():
        print(f"{name.replace('_', ' ')}: {value}")


@bench.command("model")
def bench_model(
    model: Annotated[str, typer.Option(help="Model folder, or builtin.")],
    device: Annotated[str, typer.Option(help="cuda or cpu.")] = "cuda",
    dtype: Annotated[str, typer.Option(help="float32, bfloat16 or float16.")] = "float32",
    frames: Annotated[int, typer.Option(help="Timed frames of each kind.", min=1)] = 100,
    window: Annotated[int, typer.Option(help="Frames of history.", min=1)] = 16,
    size: Annotated[str, typer.Option(help="Width x height of the frames.")] = "448x448",
    batch: Annotated[int, typer.Option(help="Also so many streams at once.", min=0)] = 0,
    threads: Annotated[int | None, typer.Option(help="PyTorch's threads on the CPU.", min=1)] = None,
    graphs: Annotated[bool, typer.Option(help="Fused kernels and CUDA graphs.")] = True,
    json: Out = None,
) -> None:
    """Time the network, stage by stage; on a CPU beside a directly written reference."""
    _need_torch()
    from .bench.model import bench_model as run
    from .resources import model_folder

    width, height = _size(size)
    folder = model_folder(model)
    _write(run(folder, device, dtype, frames, window, (height, width), batch, threads, graphs), json)


@bench.command("source")
def bench_source(
    source: Annotated[str, typer.Option(help="Gaze source.")] = "greedy",
    budget: Annotated[int, typer.Option(help="Tokens a frame.")] = 20,
    size: Annotated[str, typer.Option(help="Width x height of the drawn clip.")] = "224x224",
    frames: Annotated[int, typer.Option(help="Timed frames.")] = 300,
    warmup: Annotated[int, typer.Option(help="Frames before them.")] = 30,
    video: Annotated[Path | None, typer.Option(help="Use this clip at its own size.")] = None,
    model: Annotated[str, typer.Option(help="Model folder for the source autogaze.")] = "",
    json: Out = None,
) -> None:
    """Time a gaze source, frame by frame, without ROS."""
    from .bench.source import bench_source as run
    from .settings import Settings

    width, height = _size(size)
    settings = Settings(source=source, budget=budget, model=model, target_psnr=0.0)
    _write(run(settings, width, height, frames, warmup, video), json)


@bench.command("quality")
def bench_quality(
    sources: Annotated[
        str,
        typer.Option(help="Gaze sources, separated by commas; difference is a plain one to compare with."),
    ] = "greedy,patch_diff",
    budgets: Annotated[str, typer.Option(help="Tokens a frame, separated by commas.")] = "5,10,20,40",
    video: Annotated[Path | None, typer.Option(help="Use this clip instead of the drawn one.")] = None,
    model: Annotated[str, typer.Option(help="Model folder for the source autogaze, or builtin.")] = "builtin",
    held_out: Annotated[
        bool, typer.Option(help="Also on drawn scenes that the built-in model was not trained on.")
    ] = False,
    json: Out = None,
) -> None:
    """PSNR of the token reconstruction against tokens a frame, for each source."""
    from .bench.quality import bench_quality as run

    _write(run(sources.split(","), _numbers(budgets), video, model, held_out=held_out), json)


@bench.command("threshold")
def bench_threshold(
    targets: Annotated[str, typer.Option(help="dB to stop at, separated by commas.")] = "30,35,40",
    video: Annotated[Path | None, typer.Option(help="Also on this clip.")] = None,
    model: Annotated[str, typer.Option(help="Folder of a model in the built-in one's unit.")] = "builtin",
    json: Out = None,
) -> None:
    """Where the built-in model stops by the loss that it predicts: thresholds, a still scene, a cut."""
    _need_torch()
    from .bench.threshold import bench_threshold as run

    _write(run(model, video, [float(target) for target in _numbers(targets)]), json)


@bench.command("render")
def bench_render(
    size: Annotated[str, typer.Option(help="Width x height of the image.")] = "1920x1080",
    cells: Annotated[int, typer.Option(help="Gazed cells.")] = 200,
    repeats: Annotated[int, typer.Option(help="Timed calls of each.")] = 50,
    json: Out = None,
) -> None:
    """Time masks, views, the reconstruction and tiles."""
    from .bench.render import bench_render as run

    _write(run(*_size(size), cells, repeats), json)


@bench.command("transport")
def bench_transport(
    sizes: Annotated[
        str, typer.Option(help="Widths x heights of the images, separated by commas.")
    ] = "640x480,1280x720,1920x1080",
    images: Annotated[int, typer.Option(help="How many of each size.")] = 90,
    rate: Annotated[float, typer.Option(help="Images a second.")] = 30.0,
    json: Out = None,
) -> None:
    """How many images get from a process to another, and how fast, with the Fast DDS profile and without."""
    from .bench.transport import bench_transport as run

    _write(run([_size(size) for size in sizes.split(",")], images, rate), json)


@bench.command("node")
def bench_node(
    size: Annotated[str, typer.Option(help="Width x height of the images.")] = "1920x1080",
    rate: Annotated[float, typer.Option(help="Images a second.")] = 30.0,
    seconds: Annotated[float, typer.Option(help="Length of the run.")] = 60.0,
    source: Annotated[str, typer.Option(help="Gaze source.")] = "greedy",
    model: Annotated[str, typer.Option(help="Model folder for the source autogaze.")] = "",
    overload: Annotated[
        bool, typer.Option(help="Then send at twice the rate that the node can bear.")
    ] = False,
    json: Out = None,
) -> None:
    """Latency and drops of the node between a camera and a subscriber, all processes of their own."""
    from .bench.node import bench_node as run

    width, height = _size(size)
    node = {"source": source} | ({"model": model} if model else {})
    result = run(width, height, rate, seconds, node, overload)
    _write(result, json)
    if number := result.get("interrupted"):
        from .ros.processes import Interrupted

        raise Interrupted(number)


def _need_torch() -> None:
    for package in ("torch", "safetensors"):
        if importlib.util.find_spec(package) is None:
            raise AutogazeError(f"this command needs the package {package}: pip install torch safetensors")


def _numbers(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise typer.BadParameter(f"whole numbers separated by commas are needed, got {text!r}") from error


@bench.command("replay")
def bench_replay(
    size: Annotated[str, typer.Option(help="Width x height of the images.")] = "640x480",
    frames: Annotated[int, typer.Option(help="Length of the recording.")] = 2000,
    storage: Annotated[str, typer.Option(help="mcap or sqlite3.")] = "mcap",
    option: Annotated[
        list[str] | None,
        typer.Option(help="A word for autogaze replay, as --option=--overlay; may be given again."),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(help="Where the recording is written for the while (1 MB a frame at 640x480)."),
    ] = None,
    json: Out = None,
) -> None:
    """Frames a second and memory of a replay of a recording that is drawn for it."""
    from .bench.replay import bench_replay as run

    if storage not in ("mcap", "sqlite3"):
        raise typer.BadParameter(f"storage is mcap or sqlite3, got {storage!r}")
    _write(run(*_size(size), frames, storage, option or [], folder), json)


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    if not (width.isdigit() and height.isdigit()):
        raise typer.BadParameter(f"a size is WIDTHxHEIGHT, such as 640x480, got {text!r}")
    return int(width), int(height)


def _write(result: dict[str, Any], path: Path | None) -> None:
    import json

    from .bench.measure import finite

    text = json.dumps(finite(result), indent=2, allow_nan=False)
    if path is None:
        print(text)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")


def main() -> None:
    """Entry of the console command."""
    try:
        app()
    except AutogazeError as error:
        print(f"autogaze: {error}", file=sys.stderr)
        sys.exit(error.status)
