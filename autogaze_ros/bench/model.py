"""How long the network takes for a frame, stage by stage, and how its times grow with the stream.

Runs where there is neither ROS nor OpenCV: ``python -m autogaze_ros.bench.model --model PATH --device cuda``.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .measure import machine, percentiles

if TYPE_CHECKING:
    from ..model import AutoGaze, Stream

STEADY_SLOTS = (10, 39, 198)
NEVER = -1e9  # a loss that no prediction reaches: every block is looked at by the host, and none ends a frame


def bench_model(
    model: str | Path,
    device: str = "cuda",
    dtype: str = "float32",
    frames: int = 100,
    window: int = 16,
    size: tuple[int, int] = (448, 448),
    batch: int = 0,
    threads: int | None = None,
    graphs: bool = True,
    reference: bool | None = None,
) -> dict[str, Any]:
    """Time keyframes and steady frames of a model folder.

    Frames are made up: with weights of the released sizes the time depends on the number of slots alone, which is
    set by the ratio.

    Args:
        model: the folder.
        device: "cuda" or "cpu".
        dtype: "float32", "bfloat16" or "float16".
        frames: timed frames of each kind, after as many as fill the window.
        window: frames of history.
        size: (height, width) of the uint8 frames.
        batch: also step so many streams at once, 10 slots each; 0: none.
        threads: of PyTorch on the CPU; None: its default.
        graphs: False: plain PyTorch on CUDA as well.
        reference: also time the directly written reference on the CPU in the same run; None: if device is cpu.
    """
    import torch

    from ..model import AutoGaze

    if threads is not None:
        torch.set_num_threads(threads)
    state = machine()
    begun = time.perf_counter()
    network = AutoGaze.from_folder(model, device, getattr(torch, dtype), graphs=graphs)
    loaded = time.perf_counter()
    network.warm_up((1,), size)
    warm = time.perf_counter()
    pictures = _pictures(*size)
    result: dict[str, Any] = {
        "bench": "model",
        "machine": state,
        "model": str(model),
        "device": torch.cuda.get_device_name(network.device) if network.device.type == "cuda" else "cpu",
        "dtype": dtype,
        "engine": network.engine,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "window": window,
        "size": list(size),
        "load (s)": round(loaded - begun, 3),
        "warm up (s)": round(warm - loaded, 3),
        "keyframe (ms)": _keyframes(network, pictures, window, max(10, frames // 4)),
        "steady (ms)": {},
        "stages p50 (ms)": {},
        "first frames (ms)": _first_frames(network, pictures, window),
    }
    for slots in STEADY_SLOTS:
        name = f"{slots} slots"
        stream = _filled(network, pictures, window, slots)
        result["steady (ms)"][name] = percentiles(_times(stream, pictures, frames))
        result["stages p50 (ms)"][name] = _stages(network, stream, pictures, max(10, frames // 4))
        stream.task_loss_requirement = NEVER
        result["steady (ms)"][f"{name}, with a threshold"] = percentiles(_times(stream, pictures, frames))
        result["stream (MB)"] = round(stream.nbytes() / 1e6, 1)
    if batch:
        result["batch (ms)"] = {
            f"{batch} streams, 10 slots": _batch(network, pictures, window, batch, frames)
        }
    if reference if reference is not None else network.device.type == "cpu":
        result["reference"] = _reference(model, network, pictures, window)
    result["peak memory (MB)"] = {"process": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3)}
    if network.device.type == "cuda":
        result["peak memory (MB)"]["cuda"] = round(torch.cuda.max_memory_allocated(network.device) / 1e6)
    return result


def _pictures(height: int, width: int, count: int = 16) -> list[np.ndarray]:
    """A grey wave that moves over noise, uint8 (height, width, 3)."""
    dice = np.random.default_rng(0)
    noise = dice.integers(0, 64, (height, width, 3))
    x = np.arange(width)[None, :, None]
    return [(noise + 96 * (1 + np.sin((x + 8 * t) / 20))).clip(0, 255).astype(np.uint8) for t in range(count)]


def _ratio(network: AutoGaze, slots: int) -> float:
    return (slots + 0.5) / network.config.num_ids


def _filled(network: AutoGaze, pictures: list[np.ndarray], window: int, slots: int) -> Stream:
    """A stream whose window is full of frames of so many slots, and which has slid once."""
    stream = network.stream(_ratio(network, slots), window=window)
    for i in range(window + 1):
        gaze = stream.step(pictures[i % len(pictures)])
        assert len(gaze.ids) == slots
    return stream


def _times(stream: Stream, pictures: list[np.ndarray], count: int) -> list[float]:
    times = []
    for i in range(count + 3):
        begun = time.perf_counter()
        stream.step(pictures[i % len(pictures)])
        times.append(time.perf_counter() - begun)
    return times[3:]


def _keyframes(network: AutoGaze, pictures: list[np.ndarray], window: int, count: int) -> dict[str, float]:
    """First frames of a stream, at the largest of the usual budgets."""
    stream = network.stream(_ratio(network, max(STEADY_SLOTS)), window=window)
    times = []
    for i in range(count + 2):
        stream.reset()
        begun = time.perf_counter()
        stream.step(pictures[i % len(pictures)])
        times.append(time.perf_counter() - begun)
    return percentiles(times[2:])


def _first_frames(network: AutoGaze, pictures: list[np.ndarray], window: int) -> list[float]:
    """Best of three of each of the first two windows' frames, 10 slots each: how times grow, then stay."""
    runs = []
    stream = network.stream(_ratio(network, 10), window=window)
    for _ in range(3):
        stream.reset()
        runs.append(_times(stream, pictures, 2 * window - 3))
    return [round(float(t) * 1e3, 3) for t in np.min(runs, axis=0)]


def _stages(network: AutoGaze, stream: Stream, pictures: list[np.ndarray], count: int) -> dict[str, float]:
    """Median of each stage. The GPU is waited for after each, so their sum is more than a frame's time."""
    spent: dict[str, list[float]] = {}
    last = 0.0

    def mark(stage: str) -> None:
        nonlocal last
        now = time.perf_counter()
        spent.setdefault(stage, []).append(now - last)
        last = now

    with network.watch(mark):
        for i in range(count):
            last = time.perf_counter()
            stream.step(pictures[i % len(pictures)])
    return {stage: round(float(np.median(times)) * 1e3, 3) for stage, times in spent.items()}


def _batch(
    network: AutoGaze, pictures: list[np.ndarray], window: int, streams: int, count: int
) -> dict[str, float]:
    network.warm_up((streams,), pictures[0].shape[:2])
    cameras = [network.stream(_ratio(network, 10), window=window) for _ in range(streams)]
    times = []
    for i in range(window + 3 + count):
        views = [pictures[(i + j) % len(pictures)] for j in range(streams)]
        begun = time.perf_counter()
        network.step(cameras, views)
        times.append(time.perf_counter() - begun)
    return percentiles(times[window + 3 :])


def _reference(
    model: str | Path, network: AutoGaze, pictures: list[np.ndarray], window: int
) -> dict[str, Any]:
    """The reference's times for one clip, turn about with ours, so that both meet the same load."""
    import torch

    from ..model.reference import Reference

    plain, fast = Reference(model), network.stream(_ratio(network, 10), window=window)
    budget, runs = network.config.budget(_ratio(network, 10)), []
    for _ in range(3):
        plain.reset()
        fast.reset()
        run = []
        for i in range(window):
            picture = pictures[i % len(pictures)]
            begun = time.perf_counter()
            pixels = network.preprocess([picture])[0].to("cpu", torch.float32)
            plain.step(pixels, budget)
            between = time.perf_counter()
            fast.step(picture)
            run.append((between - begun, time.perf_counter() - between))
        runs.append(run)
    theirs, ours = np.min(runs, axis=0).T * 1e3
    return {
        "what": f"best of {len(runs)} runs of each of {window} first frames, 10 slots, the same resize",
        "reference (ms)": [round(float(t), 2) for t in theirs],
        "this (ms)": [round(float(t), 2) for t in ours],
        "means (ms)": [round(float(theirs.mean()), 2), round(float(ours.mean()), 2)],
        "this / reference": round(float(ours.mean() / theirs.mean()), 3),
    }


def main(arguments: list[str] | None = None) -> None:
    """Command line of this benchmark alone, for machines without the package's other needs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="model folder")
    parser.add_argument("--device", default="cuda", help="cuda or cpu")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16", "float16"])
    parser.add_argument("--frames", type=int, default=100, help="timed frames of each kind")
    parser.add_argument("--window", type=int, default=16, help="frames of history")
    parser.add_argument("--size", type=int, nargs=2, default=(448, 448), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--batch", type=int, default=0, help="streams stepped at once")
    parser.add_argument("--threads", type=int, default=None, help="of PyTorch on the CPU")
    parser.add_argument("--eager", action="store_true", help="no CUDA graphs")
    parser.add_argument("--json", type=Path, default=None, help="file to write")
    given = parser.parse_args(arguments)
    result = bench_model(given.model, given.device, given.dtype, given.frames, given.window, tuple(given.size),
                         given.batch, given.threads, not given.eager)  # fmt: skip
    text = json.dumps(result, indent=1)
    if given.json is not None:
        given.json.write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
