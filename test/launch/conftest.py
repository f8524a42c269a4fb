"""A stand-in for launch and launch_ros, which are not on PyPI.

It only writes down what a launch file asks for, so that this can be checked on any machine. That
the real ones understand it is checked where they are installed (test_real_launch.py).
"""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

LAUNCH = Path(__file__).parents[2] / "launch"


class Entity(SimpleNamespace):
    """Any action: its positional arguments under ``args``, the others under their names."""

    def __init__(self, *args, **named):
        super().__init__(args=args, **named)


class DeclareLaunchArgument(Entity):
    pass


class OpaqueFunction(Entity):
    pass


class SetEnvironmentVariable(Entity):
    pass


class IncludeLaunchDescription(Entity):
    pass


class ExecuteProcess(Entity):
    pass


class Node(Entity):
    pass


class PythonLaunchDescriptionSource(Entity):
    pass


class LaunchDescription(list):
    pass


def module(name, **members):
    made = ModuleType(name)
    vars(made).update(members)
    return made


STAND_INS = [
    module("launch", LaunchDescription=LaunchDescription),
    module(
        "launch.actions",
        DeclareLaunchArgument=DeclareLaunchArgument,
        ExecuteProcess=ExecuteProcess,
        IncludeLaunchDescription=IncludeLaunchDescription,
        OpaqueFunction=OpaqueFunction,
        SetEnvironmentVariable=SetEnvironmentVariable,
    ),
    module("launch.launch_description_sources", PythonLaunchDescriptionSource=PythonLaunchDescriptionSource),
    module("launch_ros"),
    module("launch_ros.actions", Node=Node),
]


@pytest.fixture
def launch_file(monkeypatch):
    """Run a launch file with arguments; gives all actions in order, those of files it includes too."""
    for stand_in in STAND_INS:
        monkeypatch.setitem(sys.modules, stand_in.__name__, stand_in)
    for name in (
        "FASTDDS_DEFAULT_PROFILES_FILE",
        "FASTRTPS_DEFAULT_PROFILES_FILE",
        "FASTDDS_BUILTIN_TRANSPORTS",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("RMW_IMPLEMENTATION", raising=False)
    monkeypatch.delenv("ROS_DISTRO", raising=False)

    def visit(path, configurations):
        spec = importlib.util.spec_from_file_location(Path(path).stem.replace(".", "_"), path)
        file = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(file)
        for entity in file.generate_launch_description():
            if isinstance(entity, DeclareLaunchArgument):
                (name,) = entity.args
                configurations.setdefault(name, entity.default_value)
                yield entity
            elif isinstance(entity, OpaqueFunction):
                yield from entity.function(SimpleNamespace(launch_configurations=configurations))
            elif isinstance(entity, IncludeLaunchDescription):
                configurations.update(dict(entity.launch_arguments))
                yield from visit(entity.args[0].args[0], configurations)
            else:
                yield entity

    def run(name, **arguments):
        return list(visit(LAUNCH / name, dict(arguments)))

    return run
