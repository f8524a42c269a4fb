"""The command line: every command explains itself, and mistakes end with one line."""

import json
import math
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from autogaze_ros import cli
from autogaze_ros.cli import app
from autogaze_ros.errors import AutogazeError
from autogaze_ros.replay.clips import DrawnClip
from autogaze_ros.settings import markdown_table


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every command and group of commands, as one types them."""
    yield path
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, (*path, name))


ALL = list(commands(typer.main.get_command(app)))


def run(*arguments: str):
    return CliRunner().invoke(app, arguments)


def test_the_known_commands_are_there():
    assert {("demo",), ("parameters",), ("bench",)} <= set(ALL)


@pytest.mark.parametrize("path", ALL, ids=lambda path: " ".join(path) or "autogaze")
def test_every_command_has_help(path: tuple[str, ...]):
    result = run(*path, "--help")
    assert result.exit_code == 0, result.output
    assert "Usage" in result.output
    command = typer.main.get_command(app)
    for name in path:
        command = command.commands[name]
    assert command.help, "nothing says what it does"
    for parameter in command.params:
        if parameter.param_type_name == "option":
            assert parameter.help, f"nothing says what {parameter.name} does"


def test_a_group_without_a_command_shows_its_help():
    for path in [(), ("bench",)]:
        assert "Usage" in run(*path).output


def test_parameters_prints_the_table_and_nothing_else():
    result = run("parameters")
    assert (result.exit_code, result.output) == (0, markdown_table())


@pytest.mark.parametrize("arguments", [("nothing",), ("demo", "--budget", "many"), ("parameters", "--odd")])
def test_mistyped_commands_are_refused(arguments: tuple[str, ...]):
    result = run(*arguments)
    assert result.exit_code == 2
    assert "Usage" in result.output


def test_bench_source_writes_json(tmp_path):
    out = tmp_path / "new" / "bench.json"
    result = run("bench", "source", "--frames", "3", "--size", "160x120", "--json", str(out))
    assert result.exit_code == 0, result.output
    assert json.loads(out.read_text())["bench"] == "source"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("bench", "source", "--frames", "0"), "frames must be above 0"),
        (("bench", "source", "--size", "0x10"), "width must be above 0"),
        (("bench", "render", "--cells", "300"), "cells must be at most 265"),
        (("bench", "render", "--cells", "0"), "cells must be above 0"),
        (("bench", "render", "--repeats", "0"), "repeats must be above 0"),
        (("bench", "quality", "--budgets", "5,0"), "budget must be 1 to 265"),
        (("bench", "transport", "--images", "0"), "images must be above 0"),
        (("bench", "transport", "--sizes", "640x480,0x10"), "0x10 must be above 0"),
        (("bench", "node", "--rate", "0"), "rate must be above 0"),
        (("bench", "node", "--rate", "nan"), "rate must be above 0"),
        (("bench", "node", "--seconds", "-1"), "seconds must be above 0"),
        (("bench", "node", "--seconds", "0.001"), "before the first image"),
        (("bench", "node", "--source", "foo"), "source must be one of"),
        (("demo", "--source", "foo"), "source must be one of"),
        (("demo", "--budget", "0"), "budget must be 1 to 265"),
    ],
    ids=" ".join,
)
def test_what_can_not_be_run_is_refused_at_once(arguments: tuple[str, ...], reason: str):
    if {"node", "transport"} & set(arguments):
        pytest.importorskip("rclpy")
    if {"demo", "node", "transport"} & set(arguments):
        pytest.importorskip("mcap", reason="mcap comes from pip only")
    error = run(*arguments).exception
    assert isinstance(error, AutogazeError)
    assert reason in str(error)


def test_the_exit_status_is_the_errors(monkeypatch, capsys):
    pytest.importorskip("mcap", reason="mcap comes from pip only")
    error = AutogazeError("stopped")
    error.status = 130
    monkeypatch.setattr("sys.argv", ["autogaze", "demo"])
    monkeypatch.setattr("autogaze_ros.demo.run_demo", lambda *_: (_ for _ in ()).throw(error))
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 130
    assert capsys.readouterr().err.splitlines()[-1] == "autogaze: stopped"


def test_json_has_null_where_there_is_no_number(capsys):
    cli._write({"a": math.nan, "b": [1.5, -math.inf], "c": {"d": 0}}, None)
    assert json.loads(capsys.readouterr().out) == {"a": None, "b": [1.5, None], "c": {"d": 0}}


def test_bench_render_tells_of_the_keyframe_apart():
    from autogaze_ros.bench.render import bench_render

    tiles = bench_render(448, 224, 265, 1)["tiles with greedy (ms)"]
    assert (tiles["tiles"], tiles["budget a tile"]) == (2, 20)
    assert tiles["keyframe"]["tokens"] > tiles["tokens a frame"]
    assert tiles["keyframe"]["ms"] > 0


@pytest.mark.parametrize("number", [None, 2])
def test_views_of_a_short_clip_are_those_of_its_last_frame(tmp_path, monkeypatch, number):
    from autogaze_ros.render import gallery

    monkeypatch.setattr(gallery, "DrawnClip", lambda: DrawnClip(64, 48, 2))
    words = ("views", "--out", str(tmp_path)) + (() if number is None else ("--frame", str(number)))
    result = run(*words)
    if number is None:
        assert result.exit_code == 0, result.output
        assert (tmp_path / "overlay.jpg").exists()
    else:
        assert "ends before frame 2" in str(result.exception)


class TestBenchNode:
    """What it makes of a run, without one."""

    @pytest.fixture
    def bench(self, monkeypatch):
        """bench_node with what the run gives: figures, what the node reported, images sent, seconds, a signal."""
        pytest.importorskip("rclpy")
        pytest.importorskip("mcap", reason="mcap comes from pip only")
        from autogaze_ros.bench import node
        from autogaze_ros.ros.processes import Played

        def bench(figures, diagnostics, *rest):
            runs = []

            def play(camera, *_):
                runs.append(camera)
                return Played(
                    SimpleNamespace(figures=figures, diagnostics=diagnostics, source="greedy"), *rest
                )

            monkeypatch.setattr(node, "run", play)
            return node.bench_node(64, 48, 10.0, 2.0, {}, overload=True), runs

        return bench

    def test_no_answer_is_no_fault_of_the_benchmark(self, bench):
        result, runs = bench([], {}, 20, 1.9)
        assert result["run"]["lost on the way"] == 20
        assert result["run"]["rate achieved by the camera (Hz)"] == 10.0
        assert len(runs) == 1
        assert "overload" not in result

    def test_the_second_run_is_at_twice_the_rate_that_it_can_bear(self, bench):
        told = {"latency, stamp to publish p50 (ms)": "60", "arrival, stamp to receipt p50 (ms)": "10"}
        result, runs = bench([], told, 20, 1.9)
        assert [camera["rate"] for camera in runs] == [10.0, 40.0]
        assert "overload" in result

    def test_an_interruption_is_told_and_ends_it(self, bench):
        told = {"latency, stamp to publish p50 (ms)": "60", "arrival, stamp to receipt p50 (ms)": "10"}
        result, runs = bench([], told, 5, 0.4, 2)
        assert (result["interrupted"], len(runs)) == (2, 1)


def test_the_demo_runs_the_model_beside_greedy_where_there_is_torch(monkeypatch):
    pytest.importorskip("mcap", reason="mcap comes from pip only")
    asked: list[Any] = []
    monkeypatch.setattr("autogaze_ros.demo.run_demo", lambda *arguments: asked.append(arguments))
    run("demo", "--budget", "7")
    run("demo", "--source", "patch_diff")
    real = cli.importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "torch" else real(name))
    told = run("demo").output
    greedy, model = {"source": "greedy", "budget": 7}, {"source": "autogaze", "budget": 7, "model": "builtin"}
    assert asked[0][2] in ({"greedy": greedy, "autogaze": model}, {"greedy": greedy})
    assert list(asked[1][2]) == ["patch_diff"]
    assert list(asked[2][2]) == ["greedy"]
    assert "PyTorch is not installed" in told


def test_a_command_that_needs_torch_says_so(monkeypatch):
    real = cli.importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "torch" else real(name))
    for command in (
        ("model-info", "builtin"),
        ("bench", "model", "--model", "builtin"),
        ("bench", "threshold"),
    ):
        error = run(*command).exception
        assert isinstance(error, AutogazeError)
        assert "pip install torch" in str(error)


def test_the_version_is_told():
    assert run("--version").output.split() == ["autogaze_ros", cli.__version__]
