"""``python -m autogaze_ros``: the command line."""

from .cli import main

main()
