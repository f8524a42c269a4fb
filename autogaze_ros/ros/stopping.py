"""Ending in order: what is at work is finished and taken down before ROS itself."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import NoReturn

import rclpy
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions


class StopSignals:
    """SIGINT and SIGTERM, as a flag, however often they come.

    rclpy's own handlers shut ROS down at once, while a thread may be publishing, and a second Ctrl-C
    would end the clean-up with a traceback. Make this first of all.
    """

    #: Longest wait in seconds that may hold up the look at :attr:`came`.
    PATIENCE = 0.1

    def __init__(self) -> None:
        self.came = False
        #: of the first signal that came
        self.number = 0
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.came = True
        self.number = self.number or number

    def init(self, args: list[str] | None) -> None:
        """rclpy.init() that leaves the signals alone."""
        rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)

    def shutdown(self, node: Node | None) -> None:
        """Take the node and ROS down."""
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()
        # Python puts the default handlers back before it is gone: no signal may end the program then.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)


def end_at_once(status: int) -> NoReturn:
    """End the process now: what a thread that hangs is in the midst of can't be taken down in order."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
