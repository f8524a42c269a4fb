"""One number of streams on the GPU: the buffers that a frame passes through, and the two graphs that move it.

`_run_prefill` and `_run_decode` list the kernels of `kernels.cu` in their order; both are captured once, and launched
for every frame and block from then on.
"""

from __future__ import annotations

import ctypes
import math
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from .decoder import Decoder
from .generation import Context, Request
from .nvrtc import Graph, integer
from .upload import Upload
from .vision import Vision

if TYPE_CHECKING:
    from .graphs import GraphGenerator

_TABLE = 10  # words of a stream's table entry before its pending ids
_MOST_SPLITS = 32  # MAX_SPLITS of the kernels


class _Linear(ctypes.Structure):
    """`struct Linear` of the kernels."""

    _fields_ = [(name, ctypes.c_void_p) for name in ("x", "weight", "out", "bias", "angles", "streams")] + [
        (name, ctypes.c_int) for name in ("rows", "K", "N", "layer")
    ]


class _Small(ctypes.Structure):
    """`struct Small` of the kernels."""

    _fields_ = [
        (name, ctypes.c_void_p) for name in ("x", "weight", "out", "residual", "angles", "streams", "results")
    ] + [(name, ctypes.c_int) for name in ("N", "residual_row0", "residual_rows", "layer", "step")]


class _Few(ctypes.Structure):
    """`struct Few` of the kernels."""

    _fields_ = [
        (name, ctypes.c_void_p) for name in ("streams", "results", "queries", "part_out", "part_sum")
    ] + [(name, ctypes.c_int) for name in ("query_rows", "row0", "layer", "step")]


def _pointer(tensor: torch.Tensor) -> int:
    return tensor.data_ptr()


@dataclass(frozen=True)
class Weights:
    """The weights in the layouts that the kernels read; shared with the plain path where those agree."""

    patch: torch.Tensor
    patch_bias: torch.Tensor
    norm_weight: torch.Tensor
    norm_bias: torch.Tensor
    conv: torch.Tensor
    conv_bias: torch.Tensor
    out: torch.Tensor
    out_bias: torch.Tensor
    gate_up: list[torch.Tensor]

    @classmethod
    def of(cls, vision: Vision, decoder: Decoder) -> Weights:
        """Lay out what the plain path has; most of it is shared with it."""
        inner = decoder.config.intermediate_size
        return cls(
            patch=vision.patch_weight,
            patch_bias=vision.patch_bias.float(),
            norm_weight=vision.norm_weight.float(),
            norm_bias=vision.norm_bias.float(),
            conv=vision.conv_weight,
            conv_bias=vision.conv_bias.float(),
            out=vision.out_weight,
            out_bias=vision.out_bias.float().contiguous(),
            # gate and up alternate, so that the thread which has one has the other
            gate_up=[layer.gate_up.view(-1, 2, inner).transpose(1, 2).reshape(-1, 2 * inner).contiguous()
                     for layer in decoder.layers],
        )  # fmt: skip


class Batch:
    """Static buffers and the two graphs for one number of streams."""

    def __init__(self, engine: GraphGenerator, n: int) -> None:
        self.engine, self.n = engine, n
        config, device = engine.config, engine.device
        c, tokens, dim = config.decoder, config.num_vision_tokens, config.vision_dim
        slots = c.num_multi_token_pred
        rows = slots + tokens

        def floats(*shape: int) -> torch.Tensor:
            return torch.zeros(shape, device=device)

        side = config.input_img_size
        self.pixels = floats(n, 3, side, side)
        # Work is shared out among the multiprocessors: one part each where there is little, else several waves.
        parts, heads = engine.multiprocessors, n * c.num_heads
        self.few_splits = max(1, min(_MOST_SPLITS, parts // heads))
        self.row_splits = self.few_splits if 2 * heads <= parts else max(1, round(4 * parts / heads))
        self.many = n * tokens > 2000
        self.patch_splits = self._splits(n * tokens, dim, config.patch_size**2 * 3)
        self.conv_splits = self._splits(n * tokens, 3 * dim, 9 * dim)
        self.patch_sums = floats(self.patch_splits, n * tokens, dim)
        self.patches = floats(n * tokens, dim)
        self.conv_sums = floats(self.conv_splits, n * tokens, 3 * dim)
        self.mixed = floats(n * tokens, dim)
        self.hidden = floats(n, rows, c.hidden_size)
        self.angles = floats(n, rows, c.head_dim // 2, 2)
        self.queries = floats(n, rows, c.hidden_size)
        self.row_out = floats(n, self.row_splits, c.num_heads, rows, c.head_dim)
        self.row_sum = floats(n, self.row_splits, c.num_heads, rows, 2)
        self.attended = floats(n, rows, c.hidden_size)
        self.inner = floats(n, rows, c.intermediate_size)
        self.block = floats(n, slots, c.hidden_size)
        self.block_queries = floats(n, slots, c.hidden_size)
        self.few_out = floats(n, self.few_splits, c.num_heads, slots, c.head_dim)
        self.few_sum = floats(n, self.few_splits, c.num_heads, slots, 2)
        self.block_attended = floats(n, slots, c.hidden_size)
        self.block_inner = floats(n, slots, c.intermediate_size)
        self.last = floats(n, 1, c.hidden_size)
        self.heads = floats(n, slots * (c.vocab_size + 1))
        self.taken = torch.zeros(n, c.vocab_size, dtype=torch.uint8, device=device)
        words = 4 + 3 * config.num_ids
        self.results = torch.zeros(n, words, dtype=torch.int32, device=device)
        # Two, taken in turns: one is read by the host while a copy into the other is under way.
        self.read = [torch.zeros(n, words, dtype=torch.int32, pin_memory=True) for _ in range(2)]
        self.table = torch.zeros(n, _TABLE + slots, dtype=torch.int64, device=device)
        self.told = torch.zeros(n, _TABLE + slots, dtype=torch.int64, pin_memory=True)
        self.told_array, self.read_array = self.told.numpy(), [outcome.numpy() for outcome in self.read]
        self.uploads: dict[tuple[int, ...], Upload] = {}
        self.copied = [torch.cuda.Event() for _ in range(2)]
        for i in range(n):  # the kernels run once before they are captured, on a scratch memory
            self.tell(i, engine.scratch, Request(budget=1), 0)
        self.prefill = engine.kernels.capture(self._run_prefill)
        self.decode = engine.kernels.capture(self._run_decode)

    def _splits(self, rows: int, columns: int, depth: int) -> int:
        blocks = math.ceil(rows / (64 if self.many else 32)) * math.ceil(columns / 64)
        return max(1, min(8, depth // 64, round(2 * self.engine.multiprocessors / blocks)))

    def tell(self, i: int, context: Context, request: Request, pending: int) -> None:
        """Write one stream's entry of the table, as its history is before this frame's tokens."""
        history, row = context.history, self.told_array[i]
        threshold = -math.inf if request.loss is None else request.loss
        row[:_TABLE] = (
            _pointer(history.keys), _pointer(history.values), _pointer(context.vision_memory), context.position,
            history.start, history.length, history.capacity, pending, request.budget,
            struct.unpack("<i", struct.pack("<f", threshold))[0],
        )  # fmt: skip
        row[_TABLE : _TABLE + pending] = context.pending

    def _run_prefill(self) -> None:
        e, n = self.engine, self.n
        c, w, launch = e.config.decoder, e.weights, e.kernels.launch
        tokens, dim = e.config.num_vision_tokens, e.config.vision_dim
        slots = c.num_multi_token_pred
        rows = slots + tokens
        e.kernels.copy(self.table, self.told)
        launch("begin_frame", (rows, n, 1), 64, [self.table, self.results, self.taken, e.decoder.embedding,
               e.decoder.rotary.frequency, e.decoder.rotary.turns, self.hidden, self.angles])  # fmt: skip

        self._linear("patches", self.pixels, w.patch, self.patch_sums, n * tokens, splits=self.patch_splits)
        launch("layer_norm", (math.ceil(n * tokens / 4), 1, 1), 128, [self.patch_sums, integer(self.patch_splits),
               w.patch_bias, w.norm_weight, w.norm_bias, self.patches, integer(n * tokens)])  # fmt: skip
        self._linear("neighbours", self.patches, w.conv, self.conv_sums, n * tokens, splits=self.conv_splits)
        launch("mix_frames", (math.ceil(n * tokens * dim / 256), 1, 1), 256, [self.conv_sums,
               integer(self.conv_splits), w.conv_bias, self.table, self.mixed, integer(n * tokens)])  # fmt: skip
        self._linear("tokens_out", self.mixed, w.out, self.hidden, n * tokens, bias=w.out_bias)

        for index, layer in enumerate(e.decoder.layers):
            self._linear("qkv", self.hidden, layer.qkv, self.queries, n * rows, layer=index)
            if index == len(e.decoder.layers) - 1:
                break
            launch("attend_rows", (self.row_splits, c.num_heads, n), 32 * math.ceil(rows / 16),
                   [self.table, self.queries, integer(index), self.row_out, self.row_sum])  # fmt: skip
            self._join("rows", self.row_out, self.row_sum, rows, self.row_splits, self.attended)
            self._linear("residual", self.attended, layer.out, self.hidden, n * rows)
            self._linear("swiglu", self.hidden, w.gate_up[index], self.inner, n * rows)
            self._linear("residual", self.inner, layer.down, self.hidden, n * rows)
        # Of the last layer only the last row is ever read.
        self._finish(self.hidden, self.queries, rows, step=-1)

    def _run_decode(self) -> None:
        e = self.engine
        slots = e.config.decoder.num_multi_token_pred
        for index, layer in enumerate(e.decoder.layers):
            self._small("block_qkv", self.block, layer.qkv, self.block_queries, layer=index)
            if index == len(e.decoder.layers) - 1:
                break
            self._attend("block", self.block_queries, slots, 0, index, 0)
            self._small("block_out", self.block_attended, layer.out, self.block, residual=self.block)
            self._small("block_swiglu", self.block, e.weights.gate_up[index], self.block_inner)
            self._small("block_down", self.block_inner, layer.down, self.block, residual=self.block)
        self._finish(self.block, self.block_queries, slots, step=0)

    def _finish(self, source: torch.Tensor, queries: torch.Tensor, rows: int, step: int) -> None:
        """The last layer for the last row of `rows`, the heads, and the choice."""
        e, layer = self.engine, self.engine.decoder.layers[-1]
        self._attend("last", queries, rows, rows - 1, len(e.decoder.layers) - 1, step)
        self._small(
            "last_out", self.block_attended, layer.out, self.last, residual=source, row0=rows - 1, step=step
        )
        self._small("last_swiglu", self.last, e.weights.gate_up[-1], self.block_inner, step=step)
        self._small("last_down", self.block_inner, layer.down, self.last, residual=self.last, step=step)
        self._small("last_heads", self.last, e.decoder.heads, self.heads, step=step)
        threads = 32 * max(8, e.config.decoder.num_multi_token_pred)
        arguments = [self.table, self.results, self.taken, self.heads, e.decoder.embedding, self.block]
        e.kernels.launch("choose", (self.n, 1, 1), threads, arguments)

    def run(self, graph: Graph, turn: int) -> None:
        """Launch a graph, and a copy of its outcome to the host's buffer `turn` % 2."""
        graph.launch()
        self.engine.kernels.copy(self.read[turn % 2], self.results)
        self.copied[turn % 2].record()

    def outcome(self, turn: int) -> np.ndarray:
        """Wait for the outcome of `turn`: int32 (n, words), `struct Result` of the kernels."""
        self.copied[turn % 2].synchronize()
        return self.read_array[turn % 2]

    def _linear(
        self,
        name: str,
        x: torch.Tensor,
        weight: torch.Tensor,
        out: torch.Tensor,
        rows: int,
        bias: torch.Tensor | None = None,
        layer: int = 0,
        splits: int = 1,
    ) -> None:
        depth, columns = weight.shape
        a = _Linear(_pointer(x), _pointer(weight), _pointer(out), None if bias is None else _pointer(bias),
                    _pointer(self.angles), _pointer(self.table), rows, depth, columns, layer)  # fmt: skip
        # Sixteenths of a tile's height; measured: the smallest pays only while its tiles fit the GPU at once.
        tall = 4 if self.many else 2 if name in ("patches", "neighbours", "swiglu") else 1
        grid = (math.ceil(columns / 64), math.ceil(rows / (16 * tall)), splits)
        self.engine.kernels.launch(f"{name}_{tall}", grid, 512 if tall == 1 else 256, [a])

    def _small(
        self,
        name: str,
        x: torch.Tensor,
        weight: torch.Tensor,
        out: torch.Tensor,
        residual: torch.Tensor | None = None,
        row0: int = 0,
        layer: int = 0,
        step: int = 0,
    ) -> None:
        columns = weight.shape[1]
        a = _Small(_pointer(x), _pointer(weight), _pointer(out), None if residual is None else _pointer(residual),
                   _pointer(self.angles), _pointer(self.table), _pointer(self.results), columns, row0,
                   0 if residual is None else residual.shape[1], layer, step)  # fmt: skip
        self.engine.kernels.launch(name, (math.ceil(columns / 16), self.n, 1), 256, [a])

    def _attend(self, kind: str, queries: torch.Tensor, rows: int, row0: int, layer: int, step: int) -> None:
        """Attention of a "block" or of its "last" row, in shares, and their sum into `block_attended`."""
        c = self.engine.config.decoder
        a = _Few(_pointer(self.table), _pointer(self.results), _pointer(queries), _pointer(self.few_out),
                 _pointer(self.few_sum), rows, row0, layer, step)  # fmt: skip
        self.engine.kernels.launch(f"attend_{kind}", (self.few_splits, c.num_heads, self.n), 320, [a])
        count = c.num_multi_token_pred if kind == "block" else 1
        self._join(kind, self.few_out, self.few_sum, count, self.few_splits, self.block_attended, step)

    def _join(
        self, kind: str, part_out: torch.Tensor, part_sum: torch.Tensor, rows: int, splits: int, out: torch.Tensor,
        step: int = -1,
    ) -> None:  # fmt: skip
        a = _Few(_pointer(self.table), _pointer(self.results), None, _pointer(part_out), _pointer(part_sum), rows, 0,
                 0, step)  # fmt: skip
        grid = (math.ceil(rows * self.engine.config.decoder.num_heads / 4), self.n, 1)
        self.engine.kernels.launch(f"join_{kind}", grid, 128, [a, integer(splits), out])
