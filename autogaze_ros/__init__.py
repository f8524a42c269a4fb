"""AutoGaze for ROS 2: which few patches of a camera's stream are worth looking at.

Importing this package is light: neither torch nor rclpy is loaded until the room that
needs it is imported (``autogaze_ros.model``, ``autogaze_ros.ros``).
"""

import pkgutil

# The generated messages (``autogaze_ros.msg``) may live in another folder of the path than
# these sources, for instance when Python runs from a checkout: let both be one package.
__path__ = pkgutil.extend_path(__path__, __name__)

__version__ = "0.1.0"
