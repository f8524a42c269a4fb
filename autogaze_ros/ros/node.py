"""gaze_node: images in, gazes and pictures out."""

from __future__ import annotations

# isort: off
import autogaze_ros._process  # noqa: F401  (before NumPy)
# isort: on

import time
import traceback
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType  # type: ignore[attr-defined]
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from sensor_msgs.msg import CompressedImage, Image
from std_srvs.srv import SetBool, Trigger

from ..gaze.sources import GazeSource, SourceError
from ..pipeline import Pipeline, make_source
from ..settings import Settings
from . import qos
from .diagnostics import Statistics, diagnostic_array
from .images import ImageError, find_cv_bridge, frame_from_compressed, frame_from_image
from .losses import LossCounter
from .outputs import Outputs
from .parameters import NodeSettings
from .stopping import StopSignals, end_at_once
from .worker import NewestWorker

SUCCESS, FAILURE, ERROR = (
    TransitionCallbackReturn.SUCCESS,
    TransitionCallbackReturn.FAILURE,
    TransitionCallbackReturn.ERROR,
)
#: Seconds that the frame in work gets to end: a model's keyframe in many tiles may take several on a CPU.
PATIENCE = 20.0
#: The same where the process is to end, which whoever told it so won't wait for much longer.
LAST_PATIENCE = 5.0
#: Seconds without an image after which the log says so.
SILENCE = 10.0


class GazeNode(LifecycleNode):
    """One camera's gaze.

    The executor's thread takes messages, answers services and parameters; a worker thread converts, computes
    and publishes. Topics and the pipeline are made in configure, the subscription in activate.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__("gaze_node", **options)
        self._settings = NodeSettings(self, self._unconfigured)
        self._statistics = Statistics()
        self._pipeline: Pipeline | None = None
        self._outputs: Outputs | None = None
        self._worker: NewestWorker[Any] | None = None
        self._hung: list[NewestWorker[Any]] = []  # given up, as their frame did not end
        self._subscription: Any = None
        self._active = False
        self._enabled = True
        self._silent = False  # no image for long, and said so
        self._camera = ""
        # What lasts: why the node is not configured or active, and why greedy stands in.
        self._trouble = self._stand_in = ""
        self._losses = LossCounter(self._image_publishers)
        self._complaints: dict[str, float] = {}
        self.create_service(Trigger, "~/reset", self._on_reset)
        self.create_service(SetBool, "~/set_enabled", self._on_set_enabled)
        # Plain publisher: an inactive node tells that it is.
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 1)
        # Steady time, as a report is due most when a simulation or a bag stands still.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(1.0, self._report, clock=steady)
        self._autostart = self.create_timer(0.0, self._on_autostart, clock=steady)

    # Lifecycle

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Make the pipeline and the topics; fails, with the reason in the log, on settings that can't be used."""
        try:
            return self._configure(state)
        except Exception as error:  # rclpy would take it for a failure without a word
            self._fail(f"not configured: {error}")
            self._release()
            return FAILURE

    def _configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._trouble = self._stand_in = ""
        if self._settings.problems:
            self._fail(f"not configured: {'; '.join(self._settings.problems.values())}")
            return FAILURE
        settings = self._settings.current
        source = self._make_source(settings)
        if source is None:
            return FAILURE
        self._pipeline = Pipeline(settings, source)
        self._outputs = Outputs(self, self._complain)
        if settings.image_transport == "raw":
            find_cv_bridge()  # tried here, so that no image waits for it
        self.get_logger().info(
            f"configured: source {self._pipeline.source.name}, at most {settings.budget} tokens a frame"
        )
        return super().on_configure(state)

    def _make_source(self, settings: Settings) -> GazeSource | None:
        """The source, or greedy in its place where that is allowed; None where neither."""
        try:
            return make_source(settings, self._say)
        except SourceError as error:
            if not settings.fallback:
                self._fail(f"not configured: {error}")
                return None
            self._stand_in = f"{error}; going on with greedy (the parameter fallback allows it)"
            self._complain(self._stand_in)
            return make_source(settings.replaced({"source": "greedy"}))

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe and start to work; fails, with the reason in the log, where that can't be."""
        try:
            return self._activate(state)
        except Exception as error:  # as above
            self._fail(f"not activated: {error}")
            self._stop()
            return FAILURE

    def _activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        assert self._pipeline is not None
        self._statistics = Statistics(self._statistics.last_error)
        self._losses = LossCounter(self._image_publishers)
        self._pipeline.request_keyframe("start")
        self._worker = NewestWorker(self._work, "gaze")
        kind, topic = self._input()
        self._subscription = self.create_subscription(
            kind,
            topic,
            self._on_image,
            qos.image_in(),
            qos_overriding_options=qos.OVERRIDES,
            event_callbacks=qos.subscription_events(topic, self._complain),
        )
        self._active, self._trouble = True, ""
        self.get_logger().info(f"active: gazing at {topic}")
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop taking images and finish the one in work; an error where that one does not end."""
        return super().on_deactivate(state) if self._stop() else ERROR

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Let go of the pipeline and the topics."""
        self._trouble = self._stand_in = ""
        return self._release()

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """As cleanup, from any state."""
        return self.on_cleanup(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Back to unconfigured after a transition failed halfway; from there the node can be configured anew."""
        return self._release()

    def _release(self) -> TransitionCallbackReturn:
        self._stop()
        if self._outputs is not None:
            self._outputs.destroy()
        self._outputs = self._pipeline = None
        return SUCCESS

    def _stop(self, patience: float = PATIENCE) -> bool:
        """Take no more images; returns whether the frame in work has ended."""
        self._active = False
        if self._subscription is not None:
            self.destroy_subscription(self._subscription)
            self._subscription = None
        worker, self._worker = self._worker, None
        if worker is None:
            return True
        if worker.stop():
            self._statistics.drop("disabled")
        if worker.ended(patience):
            return True
        self._hung.append(worker)
        self._fail(f"the frame in work has not ended within {patience:.0f} s: the source hangs")
        return False

    def _on_autostart(self) -> None:
        self._autostart.cancel()
        if not self._settings.current.autostart or not self._unconfigured():
            return
        if self.trigger_configure() == SUCCESS:
            self.trigger_activate()

    def _unconfigured(self) -> bool:
        return self._pipeline is None

    @property
    def hangs(self) -> bool:
        """Whether a frame that was given up is in work still."""
        return not all(worker.ended(0) for worker in self._hung)

    def destroy_node(self) -> None:
        """Stop the worker before its topics go."""
        self._stop(LAST_PATIENCE)
        super().destroy_node()

    # Images, on the executor's thread

    def _input(self) -> tuple[type, str]:
        if self._settings.current.image_transport == "raw":
            return Image, self.resolve_topic_name("image")
        # Remapping the base topic moves the compressed one along, as image_transport has it.
        topic = self.resolve_topic_name("image/compressed")
        plain = self.resolve_topic_name("image/compressed", only_expand=True)
        return CompressedImage, topic if topic != plain else f"{self.resolve_topic_name('image')}/compressed"

    def _on_image(self, message: Any, info: Any) -> None:
        arrived = self.get_clock().now().nanoseconds
        self._statistics.receive()
        if missing := self._losses.missing(info):
            self._statistics.drop("transport", missing)
            if self._due("transport"):
                self.get_logger().warning(
                    "images are lost on their way (counted as dropped: transport); large ones need the "
                    "shared-memory profile where the camera driver is started, see README, Transport"
                )
        worker = self._worker
        if worker is None or not self._enabled:
            self._statistics.drop("disabled")
        elif worker.submit((message, arrived)):
            self._statistics.drop("overload")

    def _image_publishers(self) -> list[bytes]:
        found = self.get_publishers_info_by_topic(self._input()[1])
        return [bytes(endpoint.endpoint_gid) for endpoint in found]

    # Work, on the worker's thread

    def _work(self, item: tuple[Any, int]) -> None:
        outputs = self._outputs
        try:
            self._answer(*item)
        except Exception as error:
            if outputs is self._outputs:  # else it hung, and was given up meanwhile
                self._drop(error)

    def _drop(self, error: Exception) -> None:
        """Count and tell why an image gets no answer."""
        if isinstance(error, ImageError):
            self._statistics.drop("image")
            self._complain(f"image dropped ({error.cause}): {error}", error.cause)
        elif isinstance(error, SourceError):
            self._statistics.drop("source")
            self._complain(f"image dropped: {error}", "source")
        else:  # a fault in this program: tell all, stay up
            self._statistics.drop("fault")
            self._complain(
                f"an image was dropped by a fault in this node:\n{traceback.format_exc()}", "fault"
            )

    def _answer(self, message: Any, arrived: int) -> None:
        pipeline, outputs, statistics = self._pipeline, self._outputs, self._statistics
        if pipeline is None or outputs is None:
            return
        pipeline.settings = self._settings.current
        begun = time.perf_counter()
        frame = frame_from_image(message) if isinstance(message, Image) else frame_from_compressed(message)
        gaze = pipeline.step(frame)
        computed = time.perf_counter() - begun
        if outputs is not self._outputs:
            return  # as above
        if gaze.keyframe and gaze.keyframe_cause not in ("interval", "start"):
            self._say_reset(gaze.keyframe_cause)
        self._camera = message.header.frame_id
        try:
            outputs.publish(frame, gaze, message.header, pipeline)
        except Exception:
            statistics.drop("publish")
            self._complain(f"a frame's gaze could not be published:\n{traceback.format_exc()}", "publish")
            return
        statistics.answer(gaze, computed, frame.stamp, arrived, self.get_clock().now().nanoseconds)

    def _say(self, text: str) -> None:
        self.get_logger().info(text)

    def _say_reset(self, cause: str) -> None:
        words = {
            "stamp": "a stamp went back (a bag that loops, a clock that was set, or several publishers on the topic)",
            "size": "the image size changed",
            "encoding": "the encoding changed",
            "gap": "no image came for long",
            "cut": "the scene was cut",
            "request": "it was asked for",
            "error": "the frame before failed",
        }
        if self._due(f"reset {cause}"):
            self.get_logger().info(f"started afresh: {words.get(cause, cause)}")

    # Services, parameters, reports, on the executor's thread

    def _on_reset(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success = self._pipeline is not None
        if self._pipeline is not None:
            self._pipeline.request_keyframe()
        response.message = (
            "the next image starts afresh" if response.success else "the node is not configured"
        )
        return response

    def _on_set_enabled(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        self._enabled = request.data
        response.success, response.message = True, "gazing" if request.data else "images are dropped"
        return response

    def _report(self) -> None:
        pipeline, settings = self._pipeline, self._settings.current
        state: dict[str, Any] = {"source": settings.source}
        if pipeline is not None:
            state |= {
                "source": pipeline.source.name,
                "model": pipeline.source.model,
                "device": pipeline.source.device,
            }
            state |= {f"reset: {cause}": count for cause, count in sorted(pipeline.resets.items())}
        state["enabled"] = self._enabled
        idle = "not active" if not self._active else "" if self._enabled else "paused by ~/set_enabled"
        if not idle:
            self._warn_of_silence()
        name = f"{self.get_fully_qualified_name()}: gaze"
        status = self._statistics.report(name, self._camera, state, idle, self._trouble, self._stand_in)
        self._diagnostics.publish(diagnostic_array(status, self.get_clock().now().to_msg()))

    def _warn_of_silence(self) -> None:
        """Say it once where no image comes for long."""
        silent, told = self._statistics.silence() > SILENCE, self._silent
        self._silent = silent
        if silent and not told:
            topic = self.resolve_topic_name(self._input()[1])
            publishers = self.count_publishers(topic)
            remedy = "" if publishers else "; start a camera there, or remap image to where yours sends"
            self.get_logger().warning(
                f"no image on {topic} for {SILENCE:.0f} s, which has {publishers} publishers{remedy}"
            )

    def _fail(self, text: str) -> None:
        self._trouble = text
        self._statistics.error(text)
        self.get_logger().error(text)

    def _complain(self, text: str, key: str = "") -> None:
        """An error into the diagnostics, and into the log unless the same was said in the last 10 s."""
        self._statistics.error(text)
        if self._due(key or text):
            self.get_logger().error(text)

    def _due(self, key: str) -> bool:
        now = time.monotonic()
        if now - self._complaints.get(key, -1e9) < 10:
            return False
        self._complaints[key] = now
        return True


def main(args: list[str] | None = None) -> None:
    """Run a gaze_node until it is told to stop."""
    stop = StopSignals()
    stop.init(args)
    node = None
    try:
        node = GazeNode()
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        while not stop.came:
            executor.spin_once(timeout_sec=stop.PATIENCE)
    finally:
        stop.shutdown(node)
    if node.hangs:
        end_at_once(1)


if __name__ == "__main__":
    main()
