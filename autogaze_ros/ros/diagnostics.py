"""What the node counts and times, and its report once a second."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from ..gaze.gaze_frame import GazeFrame

#: Causes of dropped frames, in the order of the report; bad images add theirs.
DROP_CAUSES = ("overload", "transport", "disabled", "image", "source", "publish", "fault")


class Statistics:
    """Counters and recent times of one activation; safe to use from several threads.

    Args:
        window: frames over which percentiles and moving averages are taken.
    """

    def __init__(self, window: int = 300) -> None:
        self._lock = threading.Lock()
        self.received = 0
        self.published = 0
        self.drops: Counter[str] = Counter(dict.fromkeys(DROP_CAUSES, 0))
        self._times: dict[str, deque[float]] = {
            name: deque(maxlen=window) for name in ("arrival", "compute", "latency")
        }
        self._gazes: deque[tuple[float, ...]] = deque(maxlen=window)
        self._last_error = ""
        self._error_at = -1e9
        self._received_at = time.monotonic()
        self._reported = (time.monotonic(), 0, 0, 0)

    def receive(self) -> None:
        """Count a message from the middleware."""
        with self._lock:
            self.received += 1
            self._received_at = time.monotonic()

    def drop(self, cause: str, count: int = 1) -> None:
        """Count frames that get no answer."""
        with self._lock:
            self.drops[cause] += count

    def publish(self, gaze: GazeFrame, **seconds: float) -> None:
        """Count an answer and its times in seconds: arrival, compute, latency."""
        # An identical picture has no finite PSNR; its part of the mean is 100 dB.
        figures = (len(gaze), gaze.gaze_ratio, gaze.update_ratio, min(gaze.psnr, 100.0))
        with self._lock:
            self.published += 1
            self._gazes.append(figures)
            for name, value in seconds.items():
                self._times[name].append(value)

    def error(self, text: str) -> None:
        """Remember the last thing that went wrong."""
        with self._lock:
            self._last_error, self._error_at = text, time.monotonic()

    def report(
        self, name: str, hardware_id: str, state: dict[str, Any], active: bool, warning: str = ""
    ) -> DiagnosticStatus:
        """The status for /diagnostics; rates count from the report before.

        Args:
            name: of the status.
            hardware_id: of the status.
            state: further values to show.
            active: whether images are expected.
            warning: of a lasting kind; shown where nothing worse is.
        """
        now = time.monotonic()
        with self._lock:
            then, received, published, overload = self._reported
            self._reported = (
                now,
                self.received,
                self.published,
                self.drops["overload"] + self.drops["transport"],
            )
            seconds = max(now - then, 1e-6)
            rate_in, rate_out = (self.received - received) / seconds, (self.published - published) / seconds
            lost = self._reported[3] - overload
            values: dict[str, Any] = {"rate in (Hz)": f"{rate_in:.1f}", "rate out (Hz)": f"{rate_out:.1f}"}
            values |= {"frames received": self.received, "frames published": self.published}
            for title, times in (
                ("latency, stamp to publish", self._times["latency"]),
                ("arrival, stamp to receipt", self._times["arrival"]),
                ("compute", self._times["compute"]),
            ):
                p50, p99 = np.percentile(times, (50, 99)) * 1e3 if times else (float("nan"),) * 2
                values |= {f"{title} p50 (ms)": f"{p50:.1f}", f"{title} p99 (ms)": f"{p99:.1f}"}
            names = ("tokens", "gaze ratio", "update ratio", "PSNR (dB)")
            means = np.mean(self._gazes, axis=0) if self._gazes else [float("nan")] * len(names)
            values |= {
                f"{name}, moving average": f"{mean:.3g}" for name, mean in zip(names, means, strict=True)
            }
            values |= {f"dropped: {cause}": count for cause, count in self.drops.items()}
            values |= state
            values["last error"] = self._last_error
            silent = now - self._received_at
            broken = now - self._error_at < 5
        if broken:
            level, text = DiagnosticStatus.ERROR, values["last error"]
        elif active and silent > 2:
            level, text = DiagnosticStatus.WARN, f"no image for {silent:.0f} s"
        elif active and lost:
            level, text = (
                DiagnosticStatus.WARN,
                f"{lost} frames dropped in {seconds:.0f} s, {rate_out:.1f} Hz out",
            )
        elif warning:
            level, text = DiagnosticStatus.WARN, warning
        else:
            level, text = DiagnosticStatus.OK, f"{rate_out:.1f} Hz" if active else "not active"
        pairs = [KeyValue(key=key, value=str(value)) for key, value in values.items()]
        return DiagnosticStatus(level=level, name=name, message=text, hardware_id=hardware_id, values=pairs)


def diagnostic_array(status: DiagnosticStatus, stamp: Any) -> DiagnosticArray:
    """One status as a message for /diagnostics."""
    message = DiagnosticArray(status=[status])
    message.header.stamp = stamp
    return message
