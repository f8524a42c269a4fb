"""``python -m autogaze_ros.training``: train the built-in model, or look at what it is trained on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import torch
import typer

from .checkpoint import load_folder, save_folder
from .scenes import make_clips
from .train import STATE, Recipe, Training, measure

app = typer.Typer(no_args_is_help=True, add_completion=False, help="The built-in model's training.")


@app.command()
def train(
    out: Annotated[
        Path, typer.Option(help="Folder for weights, state and log; resumed from if it has a state.")
    ],
    minutes: Annotated[
        float, typer.Option(help="Training time over all runs; sets the rate's fall.")
    ] = Recipe.minutes,
    stop_after: Annotated[float, typer.Option(help="Seconds after which this run ends and saves.")] = 1e9,
    device: Annotated[str, typer.Option(help="To train on.")] = "cuda",
    resume: Annotated[Path | None, typer.Option(help="Go on from this folder's state.")] = None,
    pool: Annotated[int, typer.Option(help="Clips drawn at once.")] = Recipe.pool,
    batch: Annotated[int, typer.Option(help="Clips of a step.")] = Recipe.batch,
    passes: Annotated[int, typer.Option(help="How often each clip is used.")] = Recipe.passes,
    rate: Annotated[float, typer.Option(help="Learning rate.")] = Recipe.rate,
    watch: Annotated[
        Path | None, typer.Option(help="A clip to measure on, uint8 (T, 224, 224, 3) .npy.")
    ] = None,
) -> None:
    """Train; with the defaults this is how the shipped weights were made."""
    place = torch.device(device)
    recipe = Recipe(minutes=minutes, pool=pool, batch=batch, passes=passes, rate=rate)
    training = Training(recipe, place)
    if resume is None and (out / STATE).is_file():
        resume = out
    if resume is not None:
        training.resume(resume)
        print(f"going on after {training.seconds:.0f} s and {training.optimizer.steps} steps", flush=True)
    training.run(stop_after, lambda line: print(line, flush=True), out)
    training.save(out)
    _report(training, watch)


def _report(training: Training, watch: Path | None) -> None:
    clips = {
        "drawn": make_clips(77, 64, 16, training.device),
        "held out": make_clips(78, 64, 16, training.device, held_out=True),
    }
    if watch is not None:
        import numpy as np

        clips["watched"] = torch.from_numpy(np.load(watch)).permute(0, 3, 1, 2)[None].to(training.device)
    for name, frames in clips.items():
        for budget in (5, 10, 20, 40):
            counts = (198,) + (budget,) * (frames.shape[1] - 1)
            figures = measure(training.average, frames, counts, training._precision())
            print(json.dumps({"clips": name, "budget": budget, **figures}), flush=True)


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="Folder of a training.")],
    out: Annotated[Path, typer.Argument(help="Model folder to write.")],
) -> None:
    """Write the weights as they are shipped: in bfloat16, without the training's state."""
    save_folder(
        out, load_folder(run).state_dict(), json.loads((run / "config.json").read_text()), torch.bfloat16
    )


@app.command()
def sheet(
    out: Annotated[Path, typer.Argument(help="PNG to write.")],
    seed: Annotated[int, typer.Option(help="Of the clips.")] = 2,
    held_out: Annotated[bool, typer.Option(help="The kinds that are never trained on.")] = False,
) -> None:
    """Draw 16 clips, five frames of each, to look at."""
    import cv2
    import numpy as np

    clips = make_clips(seed, 16, 9, torch.device("cpu"), held_out)[:, ::2].permute(0, 1, 3, 4, 2).numpy()
    rows = [
        np.hstack([cv2.resize(f, (112, 112), interpolation=cv2.INTER_AREA) for f in clip]) for clip in clips
    ]
    picture = np.hstack([np.vstack(rows[:8]), np.vstack(rows[8:])])
    out.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(out), picture[:, :, ::-1])


if __name__ == "__main__":
    app()
