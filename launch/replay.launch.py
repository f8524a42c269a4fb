"""Replay recordings through the gaze, without ROS's middleware, at full speed.

ros2 launch autogaze_ros replay.launch.py bag:=my_bag out:=out/run
ros2 launch autogaze_ros replay.launch.py bag:=day_1,day_2 out:=out/all arguments:="-j 2 --overlay --set budget=40"
"""

import shlex
import sys

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, ExecuteProcess, OpaqueFunction

from autogaze_ros.resources import share_folder

ARGUMENTS = {
    "bag": ("", "recordings, videos or folders of images, separated by commas"),
    "out": ("replay", "folder for the results"),
    "topics": ("", "image topics, separated by commas; empty: all"),
    "mode": ("every-frame", "every-frame, or live: drop frames as a robot would"),
    "params_file": (str(share_folder() / "config" / "gaze_node.yaml"), "parameter file, as for the node"),
    "arguments": ("", "further words of the command line: see autogaze replay --help"),
}


def listed(text):
    """The parts of a list in one word."""
    return [part.strip() for part in text.split(",") if part.strip()]


def actions(context):
    """What to start, now that the arguments have values."""
    args = {name: context.launch_configurations[name] for name in ARGUMENTS}
    inputs = listed(args["bag"])
    if not inputs:
        raise ValueError("name what to replay, as in bag:=my_bag")
    words = [*inputs, "--out", args["out"], "--mode", args["mode"], "--params", args["params_file"]]
    for topic in listed(args["topics"]):
        words += ["--topic", topic]
    # This very Python, so that the package is the one that this file belongs to.
    command = [sys.executable, "-m", "autogaze_ros", "replay", *words, *shlex.split(args["arguments"])]
    return [ExecuteProcess(cmd=command, output="screen")]


def generate_launch_description():
    """Called by ros2 launch."""
    return LaunchDescription(
        [
            *(DeclareLaunchArgument(n, default_value=d, description=t) for n, (d, t) in ARGUMENTS.items()),
            OpaqueFunction(function=actions),
        ]
    )
