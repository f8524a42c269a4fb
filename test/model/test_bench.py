"""The benchmark runs, and says what it measured."""

import json
import subprocess
import sys
from importlib import resources

import pytest

pytest.importorskip("torch")


def test_every_part_of_it(tiny, tmp_path):
    from autogaze_ros.bench.model import bench_model

    told = bench_model(tiny.folder, "cpu", frames=2, window=2, size=(32, 40), batch=2)
    json.dumps(told)
    assert told["engine"] == "eager"
    assert set(told["steady (ms)"]) >= {"10 slots", "39 slots", "198 slots", "198 slots, with a threshold"}
    assert set(told["stages p50 (ms)"]["39 slots"]) == {"resize", "vision", "prefill", "decode"}
    assert told["keyframe (ms)"]["p50"] > 0
    assert told["batch (ms)"]["2 streams, 10 slots"]["count"] == 2
    assert told["reference"]["this / reference"] > 0


def test_it_runs_alone_as_a_module(tiny, tmp_path):
    out = tmp_path / "bench.json"
    options = ["--device", "cpu", "--frames", "1", "--window", "2", "--size", "32", "40", "--threads", "1"]
    command = [sys.executable, "-m", "autogaze_ros.bench.model", "--model", str(tiny.folder), *options]
    command += ["--json", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert json.loads(out.read_text())["threads"] == 1


def test_the_kernels_lie_in_the_package():
    source = resources.files("autogaze_ros.model").joinpath("kernels.cu").read_text()
    assert 'extern "C" __global__' in source
