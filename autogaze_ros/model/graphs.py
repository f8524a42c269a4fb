"""The fast path on CUDA: the same frame as `generation`, as two captured graphs of fused kernels.

One graph prefills a frame and chooses its first block, another runs one decode step and chooses the next. They hold
no address of any stream: a small table, filled by the host before each frame, says where each stream's memory
lies and how much of it is alive. So one pair of graphs serves every mix of streams of the same number, of any ages
and windows. Where that number varies it is rounded up to one of a few, lest there be graphs for each.

The host never waits between kernels. Where no loss threshold is set, the number of blocks is known, all are launched
and the result is read once. With a threshold the next block is launched while the last one's outcome travels to
the host; a stream that is done takes no part in it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from importlib import resources

import numpy as np
import torch

from .batch import Batch, Weights
from .cache import History
from .config import ModelConfig, PreprocessorConfig
from .decoder import Decoder
from .errors import DeviceError
from .generation import Context, Gaze, Generator, Request
from .nvrtc import Kernels
from .preprocessing import resized_shape
from .rotary import FLOAT32_POSITIONS
from .upload import Upload
from .vision import LAYER_NORM_EPS, Vision

#: Pairs of graphs that are kept; each holds some MB for each of its streams.
MOST_GRAPHS = 16
_STORE = {torch.float32: 0, torch.bfloat16: 1, torch.float16: 2}


class GraphGenerator(Generator):
    """`Generator` with CUDA graphs; what those do not cover (sampling, tiles in step) runs the plain way."""

    def __init__(
        self, vision: Vision, decoder: Decoder, config: ModelConfig, preprocessor: PreprocessorConfig
    ) -> None:
        super().__init__(vision, decoder, config)
        c = config.decoder
        rows = c.num_multi_token_pred + config.num_vision_tokens
        if c.head_dim not in (16, 32) or c.num_multi_token_pred > 16 or rows > 256:
            sizes = f"head_dim {c.head_dim}, {c.num_multi_token_pred} ids at once, {rows} tokens"
            raise DeviceError(f"no kernels for {sizes}")
        self.device = decoder.embedding.device
        if torch.cuda.get_device_capability(self.device) < (8, 0):
            raise DeviceError("the kernels need a GPU of compute capability 8.0 or later")
        self.preprocessor = preprocessor
        self.multiprocessors = torch.cuda.get_device_properties(self.device).multi_processor_count
        self.kernels = Kernels(_source(), self._macros(decoder.embedding.dtype), self.device)
        self.weights = Weights.of(vision, decoder)
        scratch = History(c.num_layers, c.num_heads, c.head_dim, config.num_vision_tokens + 2 * config.num_ids,
                          self.device, decoder.embedding.dtype)  # fmt: skip
        self.scratch = Context(scratch, vision.new_memory(), window=1)
        self._batches: dict[int, Batch] = {}

    def _macros(self, dtype: torch.dtype) -> dict[str, object]:
        c, config = self.config.decoder, self.config
        return {
            "HIDDEN": c.hidden_size, "HEADS": c.num_heads, "HEAD_DIM": c.head_dim, "INNER": c.intermediate_size,
            "VOCAB": c.vocab_size, "SLOTS": c.num_multi_token_pred, "TOKENS": config.num_vision_tokens,
            "GRID": config.vision_grid, "PATCH": config.patch_size, "VDIM": config.vision_dim,
            "FLOAT32_POSITIONS": FLOAT32_POSITIONS, "RMS_EPS": f"{c.rms_norm_eps!r}f",
            "LN_EPS": f"{LAYER_NORM_EPS!r}f", "STORE": _STORE[dtype],
        }  # fmt: skip

    def batch_size(self, n: int) -> int:
        """As `Generator.batch_size`: `n` itself where it was asked for at the start, else one of few."""
        return n if n in self.exact else rounded_up(n)

    def capture(self, n: int) -> None:
        """Make the graphs for `n` streams, if they are not there yet."""
        batch = self._batches.pop(n, None)
        if batch is None:
            with torch.cuda.device(self.device):
                if len(self._batches) >= MOST_GRAPHS:
                    torch.cuda.synchronize(self.device)
                    del self._batches[next(iter(self._batches))]
                batch = Batch(self, n)
        self._batches[n] = batch  # what was used last comes last

    def prepare(self, frames: Sequence[np.ndarray | torch.Tensor], bgr: bool) -> torch.Tensor | None:
        """Resize and normalise frames into the batch's own buffer; None where the kernels cannot do it."""
        side, config = self.config.input_img_size, self.preprocessor
        shapes = {tuple(frame.shape) for frame in frames}
        if config.crop is not None or any(resized_shape(h, w, config) != (side, side) for h, w, _ in shapes):
            return None
        self.kernels.make_current()
        self.capture(len(frames))
        batch = self._batches[len(frames)]
        if len(shapes) == 1:
            self._upload(batch, frames, 0, bgr)
        else:
            for i, frame in enumerate(frames):
                self._upload(batch, [frame], i, bgr)
        return batch.pixels

    def _upload(
        self, batch: Batch, frames: Sequence[np.ndarray | torch.Tensor], first: int, bgr: bool
    ) -> None:
        height, width = int(frames[0].shape[0]), int(frames[0].shape[1])
        # One for each place in the batch: a staging buffer must not be refilled while its copy is under way.
        key = (len(frames), first, height, width, bgr)
        if key not in batch.uploads:
            if len(batch.uploads) >= 64:  # streams of ever new sizes must not fill the memory
                torch.cuda.synchronize(self.device)
                batch.uploads.clear()
            pixels = batch.pixels[first : first + len(frames)]
            batch.uploads[key] = Upload(self, pixels, height, width, bgr)
        batch.uploads[key](frames)

    def look(
        self,
        pixels: torch.Tensor,
        contexts: Sequence[Context],
        requests: Sequence[Request],
        together: Sequence[Sequence[int]] = (),
    ) -> list[Gaze]:
        """As `Generator.look`."""
        if together or any(request.sample is not None for request in requests):
            return super().look(pixels, contexts, requests, together)
        self.kernels.make_current()
        self.capture(len(contexts))
        batch, slots = self._batches[len(contexts)], self.config.decoder.num_multi_token_pred
        if pixels is not batch.pixels:
            batch.pixels.copy_(pixels)
        for i, (context, request) in enumerate(zip(contexts, requests, strict=True)):
            left = context.begin_frame()
            batch.tell(i, context, request, left)
            context.history.reserve(left + self.config.num_vision_tokens, of_previous=left)
            context.position += left + self.config.num_vision_tokens
        batch.run(batch.prefill, 0)
        self.mark("prefill")
        most = max(math.ceil(request.budget / slots) for request in requests)
        outcome = self._decode_blocks(batch, most, any(request.loss is not None for request in requests))
        self.mark("decode")
        return [self._conclude(context, row) for context, row in zip(contexts, outcome, strict=True)]

    def _decode_blocks(self, batch: Batch, most: int, may_stop: bool) -> np.ndarray:
        """Launch decode steps until all streams are done; returns the outcome."""
        for turn in range(1, most):
            batch.run(batch.decode, turn)
            if may_stop:
                # This step runs while the host looks at the one before it.
                before = batch.outcome(turn - 1)
                if before[:, 2].all():
                    return before
        return batch.outcome(most - 1)

    def _conclude(self, context: Context, row: np.ndarray) -> Gaze:
        """Read one stream's outcome and bring its context up to date."""
        slots, blocks, done, bad = (int(value) for value in row[:4])
        if bad or not done:
            raise DeviceError(
                "the network's scores are not finite; use float32, or check the weights and the input"
            )
        size, ids_each = self.config.decoder.num_multi_token_pred, self.config.num_ids
        ids = row[4 : 4 + slots].astype(np.int64)
        padded = ids == self.config.eos_id
        values = row[4 + ids_each :].view(np.float32)
        fed = (blocks - 1) * size
        context.history.reserve(fed)
        context.position += fed
        last = ids[fed:]
        context.pending = last[~padded[fed:]].tolist()
        gaze = Gaze(ids, padded, values[:slots].copy(), values[ids_each : ids_each + slots].copy(), context.frame,
                    blocks)  # fmt: skip
        context.frame += 1
        return gaze


def rounded_up(n: int) -> int:
    """The next of 1, 2, 3, 4, 6, 8, 12, 16, 24, ...: never half as much again."""
    size = 1 << max(0, n - 1).bit_length()
    return size * 3 // 4 if n <= size * 3 // 4 else size


def _source() -> str:
    try:
        return resources.files("autogaze_ros.model").joinpath("kernels.cu").read_text(encoding="utf-8")
    except OSError as error:
        raise DeviceError(f"this installation lacks the kernels' source ({error})") from error
