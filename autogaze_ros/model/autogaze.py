"""`AutoGaze`: a loaded model, from which streams are made and clips are generated."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .cache import History
from .checkpoint import load_weights
from .clip import Clip, TargetGrid, assemble
from .config import ModelConfig, PreprocessorConfig, read_config, read_preprocessor
from .decoder import Decoder
from .errors import DeviceError, SettingError
from .generation import Context, Gaze, Generator, Request
from .graphs import GraphGenerator
from .preprocessing import as_tensor, preprocess, to_square
from .stream import (
    KEEP,
    POLICIES,
    Keep,
    Stream,
    check_loss,
    check_ratio,
    check_window,
)  # fmt: skip
from .teacher import teacher_forced
from .vision import Vision

Progress = Callable[[str], None]
DTYPES = (torch.float32, torch.bfloat16, torch.float16)


class AutoGaze:
    """The network on one device, shared by any number of streams and threads.

    Attributes:
        config: the sizes that `config.json` gives.
        preprocessor: how frames are prepared.
        device, dtype: where and in what the network is computed.
        engine: "graphs", or "eager" with the reason in brackets where graphs were asked for.
    """

    def __init__(
        self,
        weights: dict[str, torch.Tensor],
        config: ModelConfig,
        preprocessor: PreprocessorConfig,
        device: torch.device,
        dtype: torch.dtype,
        graphs: bool = True,
    ) -> None:
        self.config, self.preprocessor, self.device, self.dtype = config, preprocessor, device, dtype
        self.vision = Vision(weights, config, device, dtype)
        self.decoder = Decoder(weights, config, device, dtype)
        self._generator: Generator = Generator(self.vision, self.decoder, config)
        # Contexts that fill up a batch; what is seen in them is forgotten.
        self._spare: list[Context] = []
        self._lock = threading.RLock()
        self.engine = "eager"
        if graphs and device.type == "cuda":
            try:
                self._generator = GraphGenerator(self.vision, self.decoder, config, preprocessor)
                self.engine = "graphs"
            except DeviceError as error:
                # Slower, but right: the plain path needs nothing but PyTorch.
                self.engine = f"eager ({error})"

    @classmethod
    def from_folder(
        cls,
        path: str | Path,
        device: str | torch.device = "cuda",
        dtype: torch.dtype = torch.float32,
        graphs: bool = True,
        progress: Progress | None = None,
    ) -> AutoGaze:
        """Load a model folder: `config.json`, `preprocessor_config.json` and `model.safetensors`.

        Args:
            path: the folder; nothing is ever fetched.
            device: "cuda", "cuda:1", "cpu", ...
            dtype: float32 gives the reference's ids; bfloat16 and float16 trade some agreement for speed.
            graphs: on CUDA, compile fused kernels and run them as CUDA graphs; False: plain PyTorch, always.
                Where they cannot be compiled the plain path is taken, and `engine` says why.
            progress: is told what is being done, one line at a time.

        Raises:
            ConfigError, CheckpointError: the folder's content; the message names the key or tensor.
            DeviceError: no such device, or not enough memory on it.
            SettingError: a dtype that is not supported.
        """
        say = progress or (lambda _message: None)
        place = _check_device(device)
        if dtype not in DTYPES:
            raise SettingError(f"dtype must be float32, bfloat16 or float16, is {dtype}")
        config, preprocessor = read_config(path), read_preprocessor(path)
        say(f"reading weights from {path}")
        weights = load_weights(path, config)
        say(
            f"placing {sum(w.numel() for w in weights.values()) / 1e6:.2f} M parameters on {place} as {dtype}"
        )
        try:
            with torch.inference_mode():
                model = cls(weights, config, preprocessor, place, dtype, graphs)
        except torch.cuda.OutOfMemoryError as error:
            raise DeviceError(
                f"{place} has too little free memory for the model ({error}); free some"
            ) from error
        say(f"engine: {model.engine}")
        return model

    def warm_up(
        self,
        batch_sizes: Sequence[int] = (1,),
        frame_size: tuple[int, int] = (480, 640),
        progress: Progress | None = None,
    ) -> None:
        """Do once what would make the first frames slow: capture graphs, allocate, touch memory.

        Args:
            batch_sizes: numbers of streams that `step` will be called with. Others are filled up to one of a few
                sizes on CUDA, so that no stream waits long for graphs of its own number.
            frame_size: (height, width) of the frames to come; others work, the first of them a little later.
            progress: is told what is being done and how long it took, one line at a time.

        Raises:
            DeviceError: e.g. not enough memory.
        """
        say = progress or (lambda _message: None)
        frame = np.zeros((*frame_size, 3), dtype=np.uint8)
        for n in batch_sizes:
            say(f"warming up for {n} stream{'s' if n != 1 else ''} on {self.device} ({self.engine})")
            begin = time.perf_counter()
            self._generator.exact.add(n)
            streams = [self.stream(gazing_ratio=1.0, window=2) for _ in range(n)]
            for _ in range(2):
                self.step(streams, [frame] * n)
            say(f"warm after {time.perf_counter() - begin:.2f} s")

    def stream(
        self,
        gazing_ratio: float | None = None,
        task_loss_requirement: float | None = None,
        window: int | None = None,
        policy: str = "slide",
    ) -> Stream:
        """Begin a stream.

        Args:
            gazing_ratio: largest share of a frame's ids, in (0, 1]; the model's own by default.
            task_loss_requirement: predicted loss at which a frame is seen well enough; None: use the budget.
            window: frames remembered, at least 1; by default as many as the model was trained on (16).
            policy: "slide" or "restart"; see `Stream`.

        Raises:
            SettingError: a setting out of range.
            DeviceError: not enough memory.
        """
        ratio = check_ratio(self.config.default_gazing_ratio if gazing_ratio is None else gazing_ratio)
        loss = check_loss(task_loss_requirement)
        frames = check_window(self.config.max_num_frames if window is None else window)
        if policy not in POLICIES:
            raise SettingError(f"policy must be one of {', '.join(POLICIES)}, is {policy!r}")
        return Stream(self, self._new_context(frames, self.config.num_ids), ratio, loss, policy)

    @torch.inference_mode()
    def step(
        self,
        streams: Sequence[Stream],
        frames: Sequence[np.ndarray | torch.Tensor],
        *,
        gazing_ratio: float | None = None,
        task_loss_requirement: float | Keep | None = KEEP,
        bgr: bool = False,
    ) -> list[Gaze]:
        """Look at the next frame of each of several streams, of any ages, in one batch.

        Each stream gets what it would get alone. Arguments and errors as in `Stream.step`; nothing is
        changed unless all frames are good.
        """
        if len(streams) != len(frames):
            raise SettingError(f"{len(streams)} streams, but {len(frames)} frames; give one frame to each")
        if len({id(stream) for stream in streams}) != len(streams):
            raise SettingError("a stream is given twice; its frames must be stepped one after another")
        if any(stream._model is not self for stream in streams):
            raise SettingError("a stream belongs to another model")
        sizes = [stream._check(frame) for stream, frame in zip(streams, frames, strict=True)]
        requests = [stream._request(gazing_ratio, task_loss_requirement) for stream in streams]
        if not streams:
            return []
        with self._lock, _on(self.device):
            try:
                fill = self._fill(self._generator.batch_size(len(streams)) - len(streams))
                pixels = self._prepare([*frames, *[frames[0]] * len(fill)], bgr)
                for stream, size in zip(streams, sizes, strict=True):
                    stream._begin(size)
                contexts = [*(stream._context for stream in streams), *fill]
                requests += [Request(budget=1)] * len(fill)
                return self._generator.look(pixels, contexts, requests)[: len(streams)]
            except BaseException as error:
                # A pass cut short leaves half a frame in the memory: begin anew.
                for stream in streams:
                    stream.reset()
                if isinstance(error, torch.cuda.OutOfMemoryError):
                    raise DeviceError(
                        f"{self.device} ran out of memory in a step of {len(streams)} streams ({error}); "
                        "use fewer streams, a shorter window or a smaller dtype"
                    ) from error
                raise

    @torch.inference_mode()
    def generate(
        self,
        pixel_values: torch.Tensor,
        gazing_ratio: float | Sequence[float] | None = None,
        task_loss_requirement: float | None = None,
        *,
        target_scales: Sequence[int] | None = None,
        target_patch_size: int | None = None,
        do_sample: bool = False,
        temperature: float = 1.0,
        seed: int | None = None,
    ) -> Clip:
        """Look at whole clips, each with its full history.

        Args:
            pixel_values: float (B, T, 3, H, W) as `preprocess` gives them; other than 224 x 224 is resized.
            gazing_ratio: in (0, 1], one for all frames or one for each; the model's own by default.
            task_loss_requirement: loss threshold; None: use the budget.
            target_scales, target_patch_size: choose on the grid of an encoder with these sizes in pixels; the
                clip must then be target_scales[-1] square, and is looked at in tiles.
            do_sample, temperature, seed: draw each id from the softmax at this temperature (> 0) instead of
                taking the best; the same seed draws the same ids.

        Raises:
            SettingError: an argument out of range, or pixel values of another shape.
            DeviceError: e.g. out of memory.
        """
        _check_pixels(pixel_values)
        frames = pixel_values.shape[1]
        budgets = [self.config.budget(ratio) for ratio in self._ratios(gazing_ratio, frames)]
        loss = check_loss(task_loss_requirement)
        sampler = _sampler(do_sample, temperature, seed)
        grid = None
        if target_scales is not None or target_patch_size is not None:
            if target_scales is None or target_patch_size is None:
                raise SettingError(
                    "target_scales and target_patch_size belong together; give both or neither"
                )
            grid = TargetGrid.of(self.config, target_scales, target_patch_size)
            pixel_values = grid.cut(pixel_values)
        with self._lock, _on(self.device), _enough_memory(pixel_values, self.device):
            contexts = [self._new_context(frames, max(budgets)) for _ in pixel_values]
            tiles = 1 if grid is None else grid.across**2
            together = [range(i, i + tiles) for i in range(0, len(contexts), tiles)] if tiles > 1 else []
            gazes: list[list[Gaze]] = [[] for _ in contexts]
            for t, budget in enumerate(budgets):
                pixels = to_square(
                    pixel_values[:, t].to(self.device, torch.float32), self.config.input_img_size
                )
                request = Request(budget, loss, temperature, sampler)
                looked = self._generator.look(pixels, contexts, [request] * len(contexts), together)
                for chosen, gaze in zip(gazes, looked, strict=True):
                    chosen.append(gaze)
        clip = assemble(gazes, self.config.scales, [side**2 for side in self.config.grids])
        return clip if grid is None else grid.join(clip, self.config)

    @torch.inference_mode()
    def teacher_forced(self, pixel_values: torch.Tensor, clip: Clip) -> tuple[torch.Tensor, torch.Tensor]:
        """How the network rates the choices of a finished clip; see `teacher.teacher_forced`.

        Returns:
            `log_action_probs` and `task_loss_prediction`, float32 (B, N) as `clip.gazing_pos`.

        Raises:
            SettingError: a clip that is not one of these pixel values.
            DeviceError: e.g. out of memory.
        """
        _check_pixels(pixel_values)
        if clip.num_vision_tokens_each_frame != self.config.num_ids:
            raise SettingError(
                "a clip on another encoder's grid cannot be rated: its ids are not the network's"
            )
        if (
            clip.gazing_pos.shape[0] != len(pixel_values)
            or len(clip.num_gazing_each_frame) != pixel_values.shape[1]
        ):
            raise SettingError(f"the clip is not one of these pixel values {tuple(pixel_values.shape)}")
        with self._lock, _on(self.device), _enough_memory(pixel_values, self.device):
            pixels = to_square(pixel_values.to(self.device, torch.float32), self.config.input_img_size)
            contexts = [self._new_context(pixels.shape[1], self.config.num_ids) for _ in pixels]
            return teacher_forced(self.vision, self.decoder, self.config, pixels, contexts, clip)

    @contextlib.contextmanager
    def watch(self, on_stage: Callable[[str], None]) -> Iterator[None]:
        """Call `on_stage` with "resize", "vision", "prefill" and "decode" as each is done, for measuring.

        CUDA is waited for after each stage, which costs time; its graphs do "vision" as part of "prefill".
        """
        self._generator.on_stage = on_stage
        try:
            yield
        finally:
            self._generator.on_stage = None

    @torch.inference_mode()
    def preprocess(self, frames: Sequence[np.ndarray | torch.Tensor], bgr: bool = False) -> torch.Tensor:
        """uint8 (H, W, 3) frames of one size -> pixel values float32 (T, 3, h, w) on the model's device."""
        parts = [preprocess(as_tensor(frame).to(self.device), self.preprocessor, bgr) for frame in frames]
        return torch.stack(parts)

    def _prepare(self, frames: Sequence[np.ndarray | torch.Tensor], bgr: bool) -> torch.Tensor:
        pixels = None
        if isinstance(self._generator, GraphGenerator):
            pixels = self._generator.prepare(frames, bgr)
        if pixels is None:
            side = self.config.input_img_size
            ready = [preprocess(as_tensor(frame).to(self.device), self.preprocessor, bgr) for frame in frames]
            pixels = torch.stack([to_square(picture, side) for picture in ready])
        self._generator.mark("resize")
        return pixels

    def _fill(self, count: int) -> list[Context]:
        """So many contexts without a past."""
        self._spare += [self._new_context(1, self.config.num_ids) for _ in range(len(self._spare), count)]
        fill = self._spare[: max(0, count)]
        for context in fill:
            context.clear()
        return fill

    def _new_context(self, window: int, slots: int) -> Context:
        c = self.config.decoder
        capacity = window * (self.config.num_vision_tokens + slots)
        try:
            history = History(c.num_layers, c.num_heads, c.head_dim, capacity, self.device, self.dtype)
            return Context(history, self.vision.new_memory(), window)
        except torch.cuda.OutOfMemoryError as error:
            raise DeviceError(
                f"{self.device} has too little free memory for a window of {window} frames ({error}); shorten it"
            ) from error

    def _ratios(self, value: float | Sequence[float] | None, frames: int) -> list[float]:
        if value is None:
            value = self.config.default_gazing_ratio
        if not isinstance(value, Sequence):
            return [check_ratio(value)] * frames
        if len(value) != frames:
            raise SettingError(
                f"gazing_ratio has {len(value)} entries for {frames} frames; give one for each"
            )
        return [check_ratio(ratio) for ratio in value]


def _check_device(device: str | torch.device) -> torch.device:
    try:
        place = torch.device(device)
    except RuntimeError as error:
        raise DeviceError(f"device {device!r} is not known; use cuda or cpu") from error
    if place.type == "cuda":
        if not torch.cuda.is_available():
            raise DeviceError(
                "device cuda: this PyTorch sees no CUDA GPU; check the driver, or use device cpu"
            )
        if place.index is not None and place.index >= torch.cuda.device_count():
            raise DeviceError(f"device {place}: there are only {torch.cuda.device_count()} CUDA GPUs")
        if place.index is None:
            place = torch.device("cuda", torch.cuda.current_device())
    elif place.type != "cpu":
        raise DeviceError(f"device {place} is not supported; use cuda or cpu")
    return place


def _on(device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """Makes a CUDA device the current one for a while."""
    return torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext()


@contextlib.contextmanager
def _enough_memory(clips: torch.Tensor, device: torch.device) -> Iterator[None]:
    """Says what to do where whole clips are too much for a GPU."""
    try:
        yield
    except torch.cuda.OutOfMemoryError as error:
        raise DeviceError(
            f"{device} ran out of memory with {clips.shape[0]} clips of {clips.shape[1]} frames ({error}); "
            "use fewer or shorter clips or a smaller dtype"
        ) from error


def _check_pixels(pixels: Any) -> None:
    if not isinstance(pixels, torch.Tensor) or not pixels.is_floating_point():
        raise SettingError("pixel_values must be a float tensor, as AutoGaze.preprocess makes it")
    if pixels.ndim != 5 or pixels.shape[2] != 3 or min(pixels.shape) < 1:
        raise SettingError(
            f"pixel_values must be (clips, frames, 3, height, width), is {tuple(pixels.shape)}"
        )


def _sampler(do_sample: bool, temperature: float, seed: int | None) -> Callable[[np.ndarray], int] | None:
    if not 0 < temperature < float("inf"):
        raise SettingError(f"temperature must be above 0, is {temperature!r}")
    if not do_sample:
        return None
    dice = np.random.default_rng(seed)
    return lambda odds: int(dice.choice(len(odds), p=odds))
