"""Programs of the package as real processes, with what they print."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import yaml

#: Generous: the machine may be busy with other things.
PATIENCE = 40.0

_numbers = itertools.count(1)


class Program:
    """``python -m module`` with ROS arguments, in a namespace of its own.

    Args:
        module: to run.
        parameters: by name, as on the command line.
        arguments: further words after --ros-args.
        namespace: a fresh one where empty.
    """

    #: those that run, so that a failing test can show what they said
    alive: ClassVar[list[Program]] = []

    def __init__(
        self, module: str, parameters: dict[str, Any], arguments: Sequence[str] = (), namespace: str = ""
    ) -> None:
        self.namespace = namespace or f"/test{next(_numbers)}"
        handle, path = tempfile.mkstemp(prefix="log_", suffix=".txt")
        self._path = Path(path)
        words = [sys.executable, "-m", module, "--ros-args", "-r", f"__ns:={self.namespace}", *arguments]
        for name, value in parameters.items():
            # YAML's flow style on one line, so that strings and numbers keep their types.
            text = yaml.safe_dump([value], default_flow_style=True, width=10_000).strip()
            words += ["-p", f"{name}:={text[1:-1]}"]
        environment = os.environ | {"PYTHONUNBUFFERED": "1", "RCUTILS_COLORIZED_OUTPUT": "0"}
        self.process = subprocess.Popen(words, stdout=handle, stderr=subprocess.STDOUT, env=environment)
        os.close(handle)
        Program.alive.append(self)

    def log(self) -> str:
        """What it printed so far."""
        return self._path.read_text(errors="replace")

    def wait_for_log(self, text: str) -> None:
        """Wait until it printed this; fails where it ends or takes too long."""
        deadline = time.monotonic() + PATIENCE
        while text not in self.log():
            ended = self.process.poll() is not None
            if text in self.log():
                return
            assert not ended, f"ended with status {self.process.returncode} before it said {text!r}"
            assert time.monotonic() < deadline, f"has not said {text!r}"
            time.sleep(0.02)

    def wait(self) -> int:
        """Its exit status, once it ends."""
        return self.process.wait(PATIENCE)

    def stop(self, *signals: signal.Signals) -> int:
        """Send signals (else one interrupt), shortly after each other; returns the exit status."""
        for number, name in enumerate(signals or (signal.SIGINT,)):
            if number:
                time.sleep(0.02)
            self.process.send_signal(name)
        return self.wait()

    def discard(self) -> None:
        """End it at all costs, whatever it does."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if self in Program.alive:
            Program.alive.remove(self)
        self._path.unlink(missing_ok=True)
