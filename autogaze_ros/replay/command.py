"""``autogaze replay``: the command line of a replay."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from .run import Run


class Mode(StrEnum):
    """Which frames are worked on."""

    every_frame = "every-frame"
    live = "live"


EXAMPLES = """Examples:

\b
  autogaze replay my_bag -o out/run
  autogaze replay my_bag -o out/run --topic /front/image_raw --start 10 --end 70 --overlay --video
  autogaze replay my_bag -o out/run --params config/gaze_node.yaml --set budget=40
  autogaze replay my_bag -o out/live --mode live --cost 25
  autogaze replay day_1 day_2 clip.mp4 -o out/all -j 4
  autogaze replay my_bag -o out/run --resume"""


def replay(
    inputs: Annotated[
        list[Path],
        typer.Argument(
            help="rosbag2 folders, .mcap or .db3 files, videos, or folders of images.", show_default=False
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "-o", "--out", help="Run folder; of several inputs the folder of theirs.", show_default=False
        ),
    ],
    topic: Annotated[
        list[str] | None, typer.Option(help="Image topic; may be given again. All where none is.")
    ] = None,
    start: Annotated[float, typer.Option(min=0, help="Begin so many seconds into the recording.")] = 0.0,
    end: Annotated[float | None, typer.Option(min=0, help="End so many seconds into it.")] = None,
    every: Annotated[int, typer.Option(min=1, help="Take every so many images of a topic.")] = 1,
    mode: Annotated[
        Mode,
        typer.Option(
            help="live drops the frames that a robot would have dropped, being busy with earlier ones."
        ),
    ] = Mode.every_frame,
    cost: Annotated[
        float | None,
        typer.Option(min=0, help="Live: ms that a frame takes. Measured here where not given."),
    ] = None,
    params: Annotated[
        list[Path] | None, typer.Option(help="Parameter file, as for the node; may be given again.")
    ] = None,
    node: Annotated[
        str, typer.Option(help="Name of the node whose parameters in the files count.")
    ] = "/gaze_node",
    assignment: Annotated[
        list[str] | None, typer.Option("--set", help="name=value of one parameter; may be given again.")
    ] = None,
    overlay: Annotated[bool, typer.Option("--overlay", help="Put the overlay into gaze.mcap.")] = False,
    reconstruction: Annotated[
        bool, typer.Option("--reconstruction", help="Put the reconstruction into gaze.mcap.")
    ] = False,
    video: Annotated[bool, typer.Option("--video", help="Write overlay.mp4.")] = False,
    report: Annotated[bool, typer.Option(help="Write report.html.")] = True,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run that was interrupted.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a run in the folder.")] = False,
    jobs: Annotated[int, typer.Option("-j", "--jobs", min=1, help="Processes; each takes a topic.")] = 1,
    ray: Annotated[
        str, typer.Option(help="Spread over the Ray cluster at this address (auto, local, HOST:PORT).")
    ] = "",
    rate: Annotated[float, typer.Option(min=0.001, help="Images a second of a folder of images.")] = 30.0,
    checkpoint: Annotated[
        float, typer.Option(min=0, help="Seconds between two points that --resume can go on from.")
    ] = 10.0,
) -> None:
    """Gaze at every frame of recordings, with the node's own pipeline, and write bags, tables and a report."""
    from ..errors import AutogazeError
    from ..settings import SettingsError
    from .parameters import settings_from
    from .progress import Bars
    from .run import Options, ReplayError
    from .run import replay as run_replay
    from .spread import Spread

    if end is not None and end <= start:
        raise typer.BadParameter(f"--end {end:g} is not after --start {start:g}")
    if resume and overwrite:
        raise typer.BadParameter("--resume and --overwrite exclude each other")
    if cost is not None and mode is not Mode.live:
        raise typer.BadParameter("--cost belongs to --mode live")
    try:
        settings = settings_from(params or [], assignment or [], node)
    except SettingsError as error:
        raise typer.BadParameter(str(error)) from error
    options = Options(
        inputs=inputs, out=out, settings=settings, topics=topic or [], start=start, end=end, every=every,
        live=mode is Mode.live, cost=cost, overlay=overlay, reconstruction=reconstruction, video=video,
        report=report, resume=resume, overwrite=overwrite, rate=rate, checkpoint=checkpoint,
        spread=Spread(jobs, ray),
    )  # fmt: skip
    try:
        with Bars() as bars:
            runs = run_replay(options, bars)
    except ReplayError as error:
        print(f"autogaze replay: {error}", file=sys.stderr)
        raise typer.Exit(2) from None
    except (AutogazeError, OSError) as error:
        print(f"autogaze replay: {error}", file=sys.stderr)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        print("autogaze replay: interrupted; --resume goes on from here", file=sys.stderr)
        raise typer.Exit(130) from None
    _conclude(runs)


replay.__doc__ = f"{replay.__doc__}\n\n{EXAMPLES}"


def _conclude(runs: list[Run]) -> None:
    """Say what came of it; status 1 where an input failed or gave nothing."""
    for run in runs:
        if run.summary:
            psnr = run.summary["psnr"]["mean"]
            quality = (
                ""
                if psnr is None
                else f", {run.summary['tokens']['mean']:.1f} tokens and {psnr:.1f} dB a frame"
            )
            print(f"{run.folder}: {run.summary['frames']} frames{quality}")
    if any(run.error or not run.summary or not run.summary["frames"] for run in runs):
        raise typer.Exit(1)


def main() -> None:
    """Entry of ``ros2 run autogaze_ros replay``."""
    import autogaze_ros._process  # noqa: F401  (before NumPy)

    app = typer.Typer(add_completion=False)
    app.command()(replay)
    app()
