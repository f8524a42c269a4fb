"""Gaze at one camera, or at several with one node each.

ros2 launch autogaze_ros autogaze.launch.py image:=/camera/image_raw
ros2 launch autogaze_ros autogaze.launch.py cameras:=front,rear image:=image_raw
"""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch_ros.actions import Node

from autogaze_ros.resources import share_folder, transport_environment
from autogaze_ros.ros.launch_arguments import flag

CONFIG = share_folder() / "config"

ARGUMENTS = {  # name: (default, description); an empty default leaves the word to the parameter file
    "image": ("image_raw", "image topic, without /compressed; relative to the camera's namespace"),
    "image_transport": ("", "raw, or compressed: subscribe to <image>/compressed"),
    "cameras": ("", "comma-separated namespaces: one node for each, as in front,rear"),
    "namespace": ("", "namespace of the node, or around those of the cameras"),
    "name": ("gaze_node", "name of the node"),
    "source": ("", "what chooses: greedy, patch_diff or autogaze"),
    "model": ("", "folder of the model, for the source autogaze"),
    "params_file": (str(CONFIG / "gaze_node.yaml"), "parameter file"),
    "autostart": (
        "",
        "false: leave the node unconfigured, for a lifecycle manager; else true, or the file's",
    ),
    "use_sim_time": ("", "true: time comes from /clock; else false, or the file's"),
    "log_level": ("info", "debug, info, warn, error or fatal"),
    "rviz": ("false", "true: open RViz on the first camera"),
}


def camera_namespaces(cameras, namespace, image):
    """The namespace of each node; one node where no cameras are listed."""
    names = [c.strip().strip("/") for c in cameras.split(",") if c.strip()]
    if len(set(names)) < len(names):
        raise ValueError(f"cameras:={cameras} names a camera twice")
    if names and image.startswith("/"):
        raise ValueError(
            f"image:={image} is the same topic for all of cameras:={cameras}; leave out the first slash "
            f"to have it under each camera's namespace, as in /{names[0]}{image}"
        )
    return [f"{namespace}/{n}" if namespace else n for n in names] or [namespace]


def actions(context):
    """What to start, now that the arguments have values."""
    args = {name: context.launch_configurations[name] for name in ARGUMENTS}
    image = args["image"].rstrip("/")
    flags = {name: flag(name, args[name]) for name in ("autostart", "use_sim_time") if args[name]}
    parameters = dict(flags)
    parameters.update({name: args[name] for name in ("image_transport", "source", "model") if args[name]})
    result = [SetEnvironmentVariable(name, value) for name, value in transport_environment().items()]
    namespaces = camera_namespaces(args["cameras"], args["namespace"].rstrip("/"), image)
    for namespace in namespaces:
        result.append(
            Node(
                package="autogaze_ros",
                executable="gaze_node",
                namespace=namespace,
                name=args["name"],
                parameters=[args["params_file"], *([parameters] if parameters else [])],
                remappings=[("image", image), ("image/compressed", f"{image}/compressed")],
                ros_arguments=["--log-level", args["log_level"]],
                output="screen",
            )
        )
    if flag("rviz", args["rviz"]):
        node = "/" + "/".join(part for part in (namespaces[0].strip("/"), args["name"]) if part)
        outputs = ("overlay", "mask_image", "reconstruction")  # the topics in autogaze.rviz
        result.append(
            Node(
                package="rviz2",
                executable="rviz2",
                arguments=["-d", str(CONFIG / "autogaze.rviz")],
                remappings=[(f"/gaze_node/{topic}", f"{node}/{topic}") for topic in outputs],
                parameters=[{"use_sim_time": flags.get("use_sim_time", False)}],
            )
        )
    return result


def generate_launch_description():
    """Called by ros2 launch."""
    return LaunchDescription(
        [
            *(DeclareLaunchArgument(n, default_value=d, description=t) for n, (d, t) in ARGUMENTS.items()),
            OpaqueFunction(function=actions),
        ]
    )
