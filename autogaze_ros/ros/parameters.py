"""ROS parameters from the table of settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.exceptions import InvalidParameterValueException
from rclpy.parameter import Parameter

from ..settings import Settings, SettingsError, Spec, specs


class NodeSettings:
    """Declares every setting as a parameter of a node and keeps the settings as they are now.

    A value that can't be used is refused with the reason when it is set. One that was given at start, by a
    file or the command line, is kept as a problem that stops the node from configuring until it is put right.

    Args:
        node: declares the parameters.
        may_change_all: tells whether settings that apply on configure may change now.
    """

    def __init__(self, node: Any, may_change_all: Callable[[], bool]) -> None:
        self.current = Settings()
        #: what is wrong with the values given at start, by parameter
        self.problems: dict[str, str] = {}
        #: of these values, those that may do once others are put right
        self._refused: dict[str, Any] = {}
        self._may_change_all = may_change_all
        values = {name: self._declare(node, name, *entry) for name, entry in specs().items()}
        try:
            self.current = self.current.replaced(values)  # as a whole: some settings bound each other
        except SettingsError:
            self._take(values)
        node.add_on_set_parameters_callback(self._on_set)

    def _declare(self, node: Any, name: str, default: Any, spec: Spec) -> Any:
        descriptor = _descriptor(default, spec)
        try:
            return node.declare_parameter(name, default, descriptor).value
        except InvalidParameterValueException as error:
            self.problems[name] = str(error)
            if not node.has_parameter(name):
                node.declare_parameter(name, default, descriptor, ignore_override=True)
            return default

    def _take(self, values: dict[str, Any]) -> None:
        """Take what can be used of values given at start, again and again: one may allow another."""
        left, taken = values, True
        while taken:
            refused: dict[str, str] = {}
            for name, value in left.items():
                try:
                    self.current = self.current.replaced({name: value})
                except SettingsError as error:
                    refused[name] = str(error)
            taken = len(refused) < len(left)
            left = {name: left[name] for name in refused}
        for name in self._refused:
            self.problems.pop(name, None)
        self._refused = left
        self.problems |= refused

    def _on_set(self, parameters: list[Parameter]) -> SetParametersResult:
        table = specs()
        values = {p.name: p.value for p in parameters if p.name in table}
        if not values:
            return SetParametersResult(successful=True)
        try:
            settings = self.current.replaced(values)
        except SettingsError as error:
            return SetParametersResult(successful=False, reason=str(error))
        fixed = [
            n for n in values if not table[n][1].live and getattr(settings, n) != getattr(self.current, n)
        ]
        if fixed and not self._may_change_all():
            names = ", ".join(fixed)
            reason = (
                f"{names} can only change before the node is configured: deactivate and clean it up first"
            )
            return SetParametersResult(successful=False, reason=reason)
        self.current = settings
        for name in values:
            self.problems.pop(name, None)
            self._refused.pop(name, None)
        self._take(self._refused)
        return SetParametersResult(successful=True)


def _descriptor(default: Any, spec: Spec) -> ParameterDescriptor:
    # Dynamic typing leaves the check of types to Settings, which says in words what is wrong and lets a
    # whole number stand for a double ("target_psnr: 40").
    descriptor = ParameterDescriptor(description=spec.description, dynamic_typing=True)
    if spec.choices:
        descriptor.additional_constraints = f"one of: {', '.join(spec.choices)}"
    if spec.low is not None and spec.high is not None:
        if isinstance(default, int):
            descriptor.integer_range = [
                IntegerRange(from_value=int(spec.low), to_value=int(spec.high), step=1)
            ]
        else:
            descriptor.floating_point_range = [
                FloatingPointRange(from_value=float(spec.low), to_value=float(spec.high), step=0.0)
            ]
    return descriptor
