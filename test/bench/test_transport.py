"""The benchmark of the transport, on few small images."""

import pytest


def test_small_images_arrive_and_are_timed():
    pytest.importorskip("rclpy")
    pytest.importorskip("mcap", reason="mcap comes from pip only")
    from autogaze_ros.bench.transport import RUNS, bench_transport

    result = bench_transport([(64, 48)], 10, 30)
    for name in RUNS:
        part = result[name]["64 x 48"]
        assert 5 <= part["arrived"] <= 10, name
        assert part["latency (ms)"]["count"] == part["arrived"]
        assert 0 < part["latency (ms)"]["p50"] < 1000
