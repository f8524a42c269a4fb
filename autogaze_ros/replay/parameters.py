"""Settings from the parameter files that the node reads."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from ..settings import Settings, SettingsError, specs


def settings_from(files: list[Path], assignments: list[str], node: str = "/gaze_node") -> Settings:
    """Settings from parameter files and single assignments, later ones over earlier ones.

    Args:
        files: as ``--params-file`` takes them. What applies to the node counts, wildcards included; parameters
            that are no settings (use_sim_time, qos_overrides, ...) are left alone.
        assignments: "name=value" each, the value as in YAML.
        node: full name of the node whose parameters count.

    Raises:
        SettingsError: a file that is no parameter file, an unknown setting or a bad value.
    """
    values: dict[str, Any] = {}
    for file in files:
        try:
            content = yaml.safe_load(file.read_text())
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise SettingsError(f"{file} can't be read: {' '.join(str(error).split())}") from error
        if not isinstance(content, dict):
            raise SettingsError(
                f"{file} is no parameter file: it must begin with the name of a node, or /**:"
            )
        blocks = list(_blocks(content, ""))
        if not blocks:
            raise SettingsError(f"{file} is no parameter file: nothing in it is called ros__parameters")
        for name, parameters in blocks:
            if _applies(name, node):
                values |= {key: value for key, value in parameters.items() if key in specs()}
    for assignment in assignments:
        name, mark, text = assignment.partition("=")
        if not mark:
            raise SettingsError(f"a setting is given as name=value, got {assignment!r}")
        try:
            values[name.strip()] = "" if not text else yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise SettingsError(f"the value of {name} can't be read: {text!r}") from error
    return Settings.from_mapping(values)


def _blocks(content: dict[Any, Any], name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Node name and parameters of each block, in the order of the file."""
    for key, value in content.items():
        if key == "ros__parameters":
            if isinstance(value, dict):
                yield name, value
        elif isinstance(value, dict):
            yield from _blocks(value, f"{name}/{str(key).strip('/')}")


def _applies(pattern: str, node: str) -> bool:
    """Whether a node's name fits a pattern: * is one word between slashes, ** any number of them."""
    words = []
    for word in pattern.strip("/").split("/"):
        words.append("(/[^/]+)*" if word == "**" else "/" + re.escape(word).replace(r"\*", "[^/]*"))
    return re.fullmatch("".join(words), "/" + node.strip("/")) is not None
