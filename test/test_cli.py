"""The command line: every command explains itself, and mistakes end with one line."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from autogaze_ros.cli import app
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
