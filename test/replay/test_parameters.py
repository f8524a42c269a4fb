"""Settings of a replay from the node's parameter files."""

from pathlib import Path

import pytest

from autogaze_ros.replay.parameters import settings_from
from autogaze_ros.resources import share_folder
from autogaze_ros.settings import Settings, SettingsError


def from_text(folder: Path, text: str, node: str = "/gaze_node", *assignments: str) -> Settings:
    file = folder / "params.yaml"
    file.write_text(text)
    return settings_from([file], list(assignments), node)


def block(name: str, budget: int) -> str:
    return f"{name}:\n  ros__parameters:\n    budget: {budget}\n"


def test_the_shipped_file():
    assert settings_from([share_folder() / "config/gaze_node.yaml"], []) == Settings()


@pytest.mark.parametrize(
    ("name", "node", "applies"),
    [
        ("/**", "/gaze_node", True),
        ("/**", "/front/gaze_node", True),
        ("/*", "/gaze_node", True),
        ("/*", "/front/gaze_node", False),
        ("/*/gaze_node", "/front/gaze_node", True),
        ("/**/gaze_node", "/robot/front/gaze_node", True),
        ("/**/gaze_node", "/gaze_node", True),
        ("gaze_node", "/gaze_node", True),
        ("/gaze_node", "gaze_node", True),
        ("/other", "/gaze_node", False),
        ("/front/gaze_node", "/gaze_node", False),
        ("/gaze.node", "/gaze_node", False),
    ],
)
def test_names_and_wildcards(tmp_path: Path, name: str, node: str, applies: bool):
    assert from_text(tmp_path, block(name, 7), node).budget == (7 if applies else Settings().budget)


def test_namespaces_may_be_nested(tmp_path: Path):
    text = "".join(
        f"{name}:\n  gaze_node:\n    ros__parameters: {{budget: {budget}}}\n"
        for name, budget in (("front", 7), ("rear", 8))
    )
    assert from_text(tmp_path, text, "/rear/gaze_node").budget == 8


def test_later_blocks_files_and_assignments_win(tmp_path: Path):
    text = block("/**", 7) + block("/gaze_node", 8)
    assert from_text(tmp_path, text).budget == 8
    (tmp_path / "second.yaml").write_text(block("/**", 9))
    files = [tmp_path / "params.yaml", tmp_path / "second.yaml"]
    assert settings_from(files, []).budget == 9
    settings = settings_from(
        files, ["budget=10", "target_psnr=35", "model=", "annotate=false", "source=patch_diff"]
    )
    assert (settings.budget, settings.target_psnr, settings.model) == (10, 35.0, "")
    assert (settings.annotate, settings.source) == (False, "patch_diff")


def test_parameters_that_are_no_settings_are_left_alone(tmp_path: Path):
    text = "/**:\n  ros__parameters:\n    use_sim_time: true\n    qos_overrides: {/image: {depth: 3}}\n    budget: 7\n"
    assert from_text(tmp_path, text) == Settings(budget=7)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "must begin with the name of a node"),
        ("[1, 2]", "must begin with the name of a node"),
        ("/**: {budget: 7}", "nothing in it is called ros__parameters"),
        ("/**: [", "can't be read"),
        ("/**:\n  ros__parameters:\n    budget: many\n", "budget must be of type int, got 'many'"),
        ("/**:\n  ros__parameters:\n    budget: 0\n", "budget must be 1 to 265"),
    ],
)
def test_what_is_wrong_with_a_file_is_named(tmp_path: Path, text: str, words: str):
    with pytest.raises(SettingsError, match=words):
        from_text(tmp_path, text)


@pytest.mark.parametrize(
    ("assignment", "words"),
    [("budget", "name=value"), ("bugdet=7", "no setting is called bugdet"), ("budget=[", "can't be read")],
)
def test_what_is_wrong_with_an_assignment_is_named(assignment: str, words: str):
    with pytest.raises(SettingsError, match=words):
        settings_from([], [assignment])


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(SettingsError, match=r"none\.yaml can't be read"):
        settings_from([tmp_path / "none.yaml"], [])
