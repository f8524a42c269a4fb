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
#: Seconds by which a stamp can't differ from the node's time unless it is of another clock.
SAME_CLOCK = 60.0


class Statistics:
    """Counters and recent times of one activation; safe to use from several threads.

    Args:
        last_error: what went wrong before, to go on telling.
        window: frames over which percentiles and moving averages are taken.
    """

    def __init__(self, last_error: str = "", window: int = 300) -> None:
        self._lock = threading.Lock()
        self.received = 0
        self.answered = 0
        self.drops: Counter[str] = Counter(dict.fromkeys(DROP_CAUSES, 0))
        self._times: dict[str, deque[float]] = {
            name: deque(maxlen=window) for name in ("arrival", "compute", "latency")
        }
        self._gazes: deque[tuple[float, ...]] = deque(maxlen=window)
        self.last_error = last_error
        self._clock_trouble = ""
        self._error_at = -1e9
        self._received_at = time.monotonic()
        self._reported = (time.monotonic(), 0, 0, 0)

    def receive(self) -> None:
        """Count a message from the middleware."""
        with self._lock:
            self.received += 1
            self._received_at = time.monotonic()

    def silence(self) -> float:
        """Seconds since a message came, or since the counting began."""
        with self._lock:
            return time.monotonic() - self._received_at

    def drop(self, cause: str, count: int = 1) -> None:
        """Count frames that get no answer."""
        with self._lock:
            self.drops[cause] += count

    def answer(self, gaze: GazeFrame, compute: float, stamp: int, arrived: int, now: int) -> None:
        """Count a frame whose gaze was offered to the subscribers there are.

        Args:
            gaze: of the frame.
            compute: seconds.
            stamp: of the image in nanoseconds; 0 where the driver sets none.
            arrived: when the image came, in nanoseconds of ROS time.
            now: ROS time in nanoseconds.
        """
        # An identical picture has no finite PSNR; its part of the mean is 100 dB.
        figures = (len(gaze), gaze.gaze_ratio, gaze.update_ratio, min(gaze.psnr, 100.0))
        times, trouble = {"compute": compute}, ""
        if not (arrived and now):
            trouble = "ROS time is 0: use_sim_time is set and nobody publishes /clock"
        elif stamp and abs(now - stamp) > SAME_CLOCK * 1e9:
            trouble = (
                "stamps are not of this clock: for a recording set use_sim_time and play it with --clock, "
                "else set the clocks of the machines"
            )
        elif stamp:
            times |= {"latency": (now - stamp) / 1e9, "arrival": (arrived - stamp) / 1e9}
        with self._lock:
            self.answered += 1
            self._clock_trouble = trouble
            self._gazes.append(figures)
            for name, value in times.items():
                self._times[name].append(value)

    def error(self, text: str) -> None:
        """Remember the last thing that went wrong."""
        with self._lock:
            self.last_error, self._error_at = text, time.monotonic()

    def report(
        self,
        name: str,
        hardware_id: str,
        state: dict[str, Any],
        idle: str = "",
        trouble: str = "",
        warning: str = "",
    ) -> DiagnosticStatus:
        """The status for /diagnostics; rates count from the report before.

        Args:
            name: of the status.
            hardware_id: of the status.
            state: further values to show.
            idle: why no images are expected; empty where they are.
            trouble: why the node can't work; an error for as long as it lasts.
            warning: what lasts, though the node works.
        """
        now = time.monotonic()
        with self._lock:
            then, received, answered, overload = self._reported
            self._reported = (
                now,
                self.received,
                self.answered,
                self.drops["overload"] + self.drops["transport"],
            )
            seconds = max(now - then, 1e-6)
            rate_in, rate_out = (self.received - received) / seconds, (self.answered - answered) / seconds
            lost = self._reported[3] - overload
            values: dict[str, Any] = {"rate in (Hz)": f"{rate_in:.1f}", "rate out (Hz)": f"{rate_out:.1f}"}
            values |= {"frames received": self.received, "frames answered": self.answered}
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
            values["clock"] = self._clock_trouble or "ok"
            values["last error"] = self.last_error
            silent = now - self._received_at
            broken = now - self._error_at < 5
            warnings = [warning]
            if not idle:
                warnings += [
                    f"no image for {silent:.0f} s" if silent > 2 else "",
                    f"{lost} frames dropped in {seconds:.0f} s, {rate_out:.1f} Hz out" if lost else "",
                    self._clock_trouble,
                ]
        said = "; ".join(filter(None, warnings))
        if trouble or broken:
            level, text = DiagnosticStatus.ERROR, trouble or values["last error"]
        elif said:
            level, text = DiagnosticStatus.WARN, said
        else:
            level, text = DiagnosticStatus.OK, idle or f"{rate_out:.1f} Hz"
        pairs = [KeyValue(key=key, value=str(value)) for key, value in values.items()]
        return DiagnosticStatus(level=level, name=name, message=text, hardware_id=hardware_id, values=pairs)


def diagnostic_array(status: DiagnosticStatus, stamp: Any) -> DiagnosticArray:
    """One status as a message for /diagnostics."""
    message = DiagnosticArray(status=[status])
    message.header.stamp = stamp
    return message
