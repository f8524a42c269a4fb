"""The gaze decoder: a small Llama that reads vision tokens and chosen patches, and proposes the next ten.

Each layer: RMSNorm, causal attention over everything the stream remembers, RMSNorm, SwiGLU. Only the last position
of a pass is asked for its opinion: one product gives K x 266 scores (the next K ids at once) and K predicted losses.

Layout, not mathematics: the scale of each RMSNorm is multiplied into the product that follows it; query, key and
value are one product, gate and up another; channels that are rotated together are neighbours; and the last layer
computes queries, attention and MLP for the last position alone, because its other outputs are never read.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from .cache import History
from .config import ModelConfig
from .rotary import Rotary, neighbours_first, rotate


@dataclass(frozen=True)
class Layer:
    """One layer's weights as (in, out) matrices."""

    qkv: torch.Tensor
    out: torch.Tensor
    gate_up: torch.Tensor
    down: torch.Tensor


class Decoder:
    """Weights and forward pass; holds no state of any stream."""

    def __init__(
        self, weights: dict[str, torch.Tensor], config: ModelConfig, device: torch.device, dtype: torch.dtype
    ) -> None:
        c = self.config = config.decoder
        self.rotary = Rotary(c.rope, c.head_dim, device)
        self.layers = [self._layer(weights, index, device, dtype) for index in range(c.num_layers)]
        self.embedding = weights["gaze_decoder.model.embed_tokens.weight"].to(device, dtype).contiguous()
        heads = torch.cat(
            [weights["gaze_decoder.lm_head.weight"], weights["gaze_decoder.task_loss_prediction_head.weight"]]
        )
        self.heads = _after_norm(weights["gaze_decoder.model.norm.weight"], heads).to(device, dtype)
        self._triangle = torch.zeros(0, 0)

    def _layer(
        self, weights: dict[str, torch.Tensor], index: int, device: torch.device, dtype: torch.dtype
    ) -> Layer:
        def weight(name: str) -> torch.Tensor:
            return weights[f"gaze_decoder.model.layers.{index}.{name}.weight"]

        query, key = (
            neighbours_first(weight(f"self_attn.{name}_proj"), self.config.head_dim) for name in "qk"
        )
        qkv = torch.cat([query, key, weight("self_attn.v_proj")])
        gate_up = torch.cat([weight("mlp.gate_proj"), weight("mlp.up_proj")])
        return Layer(
            qkv=_after_norm(weight("input_layernorm"), qkv).to(device, dtype),
            out=weight("self_attn.o_proj").t().contiguous().to(device, dtype),
            gate_up=_after_norm(weight("post_attention_layernorm"), gate_up).to(device, dtype),
            down=weight("mlp.down_proj").t().contiguous().to(device, dtype),
        )

    def embed(self, ids: torch.Tensor) -> torch.Tensor:
        """int64 (n,) -> (n, hidden)."""
        return self.embedding[ids]

    def __call__(
        self,
        hidden: torch.Tensor,
        positions: torch.Tensor,
        histories: list[History],
        counts: list[int],
        everywhere: bool = False,
        remember: bool = True,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """One pass over new tokens of several streams, whose room was reserved in their histories.

        Args:
            hidden: (sum of counts, hidden), the streams' new tokens one stream after another.
            positions: int64 (sum of counts,).
            histories: each stream's memory; keys and values of the new tokens are added to it.
            counts: new tokens of each stream, at least 1.
            everywhere: report after every new token, not only after each stream's last one.
            remember: add the new tokens to the histories. If not, they see what is remembered, but neither
                themselves nor one another: that is how a padded slot is seen.

        Returns:
            float32 scores (n, K, vocab) and float32 predicted losses (n, K), n being the number of streams, or
            with `everywhere` the number of new tokens.
        """
        c = self.config
        turns = self.rotary(positions)
        ends = (
            torch.tensor(counts, device=hidden.device).cumsum(0) - 1 if len(counts) > 1 else slice(-1, None)
        )
        for index, layer in enumerate(self.layers):
            x = self._norm(hidden) @ layer.qkv
            x = x.view(len(hidden), 3 * c.num_heads, c.head_dim)
            queries, keys = rotate(x[:, : 2 * c.num_heads], turns).chunk(2, dim=1)
            if remember:
                self._remember(index, keys, x[:, 2 * c.num_heads :], histories, counts)
            asked = counts
            if index == len(self.layers) - 1 and not everywhere:
                queries, hidden, asked = queries[ends], hidden[ends], [1] * len(counts)
            attended = self._attend(index, queries, histories, asked, causal=remember)
            hidden = torch.addmm(hidden, attended, layer.out)
            gate, up = (self._norm(hidden) @ layer.gate_up).chunk(2, dim=-1)
            hidden = torch.addmm(hidden, F.silu(gate).mul_(up), layer.down)
        raw = (self._norm(hidden) @ self.heads).float()
        slots = c.num_multi_token_pred
        return raw[:, : slots * c.vocab_size].view(-1, slots, c.vocab_size), raw[:, slots * c.vocab_size :]

    def _norm(self, hidden: torch.Tensor) -> torch.Tensor:
        """RMSNorm without its scale, which is part of the next weight."""
        return F.rms_norm(hidden, (hidden.shape[-1],), eps=self.config.rms_norm_eps)

    def _remember(
        self,
        layer: int,
        keys: torch.Tensor,
        values: torch.Tensor,
        histories: list[History],
        counts: list[int],
    ) -> None:
        begin = 0
        for history, count in zip(histories, counts, strict=True):
            history.write(layer, keys[begin : begin + count], values[begin : begin + count])
            begin += count

    def _attend(
        self, layer: int, queries: torch.Tensor, histories: list[History], counts: list[int], causal: bool
    ) -> torch.Tensor:
        """(n, heads, head_dim) queries -> (n, hidden), each stream over its own memory."""
        parts = []
        begin = 0
        for history, count in zip(histories, counts, strict=True):
            keys, values = history.read(layer)
            query = queries[begin : begin + count].transpose(0, 1)
            # One query, being the newest token, sees everything: no mask.
            mask = self._mask(count, history) if causal and count > 1 else None
            part = F.scaled_dot_product_attention(query[None], keys[None], values[None], attn_mask=mask)
            parts.append(part[0].transpose(0, 1).reshape(count, -1))
            begin += count
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _mask(self, count: int, history: History) -> torch.Tensor:
        """Causal mask of the newest `count` tokens over the live slice, as a view of one stored triangle.

        Row i from the end sees all but the newest i tokens, so every mask is the lower right corner of a
        larger one.
        """
        rows, columns = self._triangle.shape
        if rows < count or columns < history.length:
            rows, columns = max(rows, count), max(columns, history.capacity)
            device, dtype = history.keys.device, history.keys.dtype
            column = torch.arange(columns, device=device)
            newest = torch.arange(columns - rows, columns, device=device)
            mask = torch.zeros(rows, columns, device=device, dtype=dtype)
            self._triangle = mask.masked_fill_(column > newest[:, None], float("-inf"))
        mask = self._triangle[rows - count :, columns - history.length :]
        # CUDA's attention reads a mask in wide words and does not forgive a view that starts between two.
        return mask.contiguous() if mask.is_cuda else mask


def _after_norm(scale: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """(out, in) weight behind an RMSNorm -> (in, out) with the norm's scale in it."""
    return (weight * scale).t().contiguous()
