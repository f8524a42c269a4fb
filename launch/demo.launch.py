"""A camera that isn't there, and the node that looks at it.

ros2 launch autogaze_ros demo.launch.py rviz:=true
ros2 launch autogaze_ros demo.launch.py video:=/data/drive.mp4 source:=patch_diff
"""

from pathlib import Path

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch_ros.actions import Node

from autogaze_ros.ros.launch_arguments import flag

ARGUMENTS = {
    "video": ("", "video file to send; empty: a clip that the package draws"),
    "bag": ("", "folder of a bag whose images to send instead"),
    "rate": ("0.0", "images a second; 0 for the clip's own"),
    "loop": ("true", "false: stop at the end of the clip"),
    "image_transport": ("raw", "raw, or compressed: JPEG; for a bag, what is in it"),
    "source": ("", "what chooses: greedy, patch_diff or autogaze; empty: as the parameter file says"),
    "rviz": ("false", "true: open RViz"),
}


def camera(context):
    """The camera's node, now that the arguments have values."""
    args = {name: context.launch_configurations[name] for name in ARGUMENTS}
    clip = {name: args[name] for name in ("video", "bag") if args[name]}
    play = {"rate": float(args["rate"]), "loop": flag("loop", args["loop"])}
    if not args["bag"]:  # whose images stay as they are
        play["compressed"] = args["image_transport"] == "compressed"
    return [
        Node(
            package="autogaze_ros",
            executable="autogaze_camera",
            name="camera",
            remappings=[("image", "camera/image_raw")],
            parameters=[{**play, **clip}],
            output="screen",
        )
    ]


def generate_launch_description():
    """Called by ros2 launch."""
    node = Path(__file__).resolve().parent / "autogaze.launch.py"
    return LaunchDescription(
        [
            *(DeclareLaunchArgument(n, default_value=d, description=t) for n, (d, t) in ARGUMENTS.items()),
            # First, as it also sets the transport that the camera needs most.
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource(str(node)),
                launch_arguments={"image": "camera/image_raw"}.items(),
            ),
            OpaqueFunction(function=camera),
        ]
    )
