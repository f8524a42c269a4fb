"""AutoGaze written down as directly as possible: what the fast code is tested and measured against.

One stream, float32, plain PyTorch. The history grows for ever and is copied at each step, every token of every layer is
computed, padding is masked rather than left out, and positions are float32 angles: as in the published code, which
this follows step by step. Nothing else in the package uses it.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
import torch.nn.functional as F

from .checkpoint import load_weights
from .config import read_config
from .rotary import frequencies


class Reference:
    """The network and one stream's growing history."""

    def __init__(self, folder: str | Path) -> None:
        self.config = read_config(folder)
        self.weights = load_weights(folder, self.config)
        self.frequency = frequencies(self.config.decoder.rope, self.config.decoder.head_dim)
        self.reset()

    def reset(self) -> None:
        """Begin a new clip."""
        self.cache: list[tuple[torch.Tensor, torch.Tensor] | None] = [None] * self.config.decoder.num_layers
        self.attention_mask: list[bool] = []
        self.earlier: torch.Tensor | None = None
        self.pending: list[tuple[int, bool]] = []

    @torch.inference_mode()
    def step(
        self, pixels: torch.Tensor, budget: int, loss: float | None = None
    ) -> tuple[list[int], list[bool], list[float]]:
        """Look at the next frame.

        Args:
            pixels: float32 (3, side, side), preprocessed.
            budget: most slots.
            loss: threshold of the predicted loss, or None.

        Returns:
            The slots' ids (the padding id where padded), padding flags, and predicted losses.
        """
        embedding = self.weights["gaze_decoder.model.embed_tokens.weight"]
        vision, slots = self._vision(pixels), self.config.decoder.num_multi_token_pred
        self.attention_mask += [not padded for _, padded in self.pending] + [True] * len(vision)
        hidden = torch.cat([embedding[[i for i, _ in self.pending]], vision]) if self.pending else vision
        positions = (torch.tensor(self.attention_mask).cumsum(0) - 1)[-len(hidden) :].clamp(min=0)
        state = self._decoder(hidden, positions)
        ids: list[int] = []
        flags: list[bool] = []
        losses: list[float] = []
        taken = torch.zeros(self.config.num_ids + 1, dtype=torch.bool)
        taken[self.config.eos_id] = True
        while True:
            self.pending = self._block(state, taken, budget - len(ids), loss, first=not ids, losses=losses)
            ids += [i for i, _ in self.pending]
            flags += [padded for _, padded in self.pending]
            if len(ids) == budget or any(padded for _, padded in self.pending):
                return ids, flags, losses
            self.attention_mask += [True] * len(self.pending)
            state = self._decoder(embedding[[i for i, _ in self.pending]], positions[-slots:])

    def _vision(self, pixels: torch.Tensor) -> torch.Tensor:
        def weight(name: str) -> torch.Tensor:
            return self.weights[f"vision_model.{name}"]

        kernel = weight("temporal_conv.weight")
        patches = F.conv3d(
            pixels[None, :, None], kernel, weight("temporal_conv.bias"), stride=kernel.shape[2:]
        )
        channels = patches.movedim(1, -1)
        normal = F.layer_norm(channels, channels.shape[-1:], weight("norm.weight"), weight("norm.bias"), 1e-5)
        now = normal.movedim(-1, 1)
        if self.earlier is None:
            self.earlier = torch.zeros_like(now).repeat(1, 1, 2, 1, 1)
        frames = torch.cat([self.earlier, now], dim=2)
        self.earlier = frames[:, :, 1:]
        mixed = F.conv3d(
            frames, weight("blocks.0.conv3d.weight"), weight("blocks.0.conv3d.bias"), padding=(0, 1, 1)
        )
        out = F.conv3d(mixed.relu(), weight("out_proj.weight"), weight("out_proj.bias"))
        return out[0, :, 0].flatten(1).t() + self.weights["connector.pos_embed"]

    def _decoder(self, hidden: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        """New tokens (n, hidden) -> the last one's state after the final norm (hidden,)."""
        c, n = self.config.decoder, len(hidden)
        angle = (positions[:, None].float() * self.frequency).repeat(1, 2)
        cosine, sine = angle.cos(), angle.sin()

        def rotate(x: torch.Tensor) -> torch.Tensor:
            first, second = x.chunk(2, dim=-1)
            return x * cosine + torch.cat([-second, first], dim=-1) * sine

        def norm(x: torch.Tensor, name: str) -> torch.Tensor:
            return F.rms_norm(
                x, x.shape[-1:], self.weights[f"gaze_decoder.model.{name}.weight"], c.rms_norm_eps
            )

        total = len(self.attention_mask)
        mask = torch.ones(n, total, dtype=torch.bool).tril(total - n) & torch.tensor(self.attention_mask)
        mask |= ~mask.any(1, keepdim=True)  # a padded first row must not divide by nothing
        for index in range(c.num_layers):
            prefix = f"layers.{index}."

            def product(x: torch.Tensor, name: str, prefix: str = prefix) -> torch.Tensor:
                return F.linear(x, self.weights[f"gaze_decoder.model.{prefix}{name}.weight"])

            x = norm(hidden, prefix + "input_layernorm")
            query, key, value = (
                product(x, f"self_attn.{name}_proj").view(n, c.num_heads, c.head_dim).transpose(0, 1)
                for name in "qkv"
            )
            query, key = rotate(query), rotate(key)
            cached = self.cache[index]
            if cached is not None:
                key, value = torch.cat([cached[0], key], dim=1), torch.cat([cached[1], value], dim=1)
            self.cache[index] = key, value
            attended = F.scaled_dot_product_attention(query[None], key[None], value[None], attn_mask=mask)[0]
            hidden = hidden + product(attended.transpose(0, 1).reshape(n, -1), "self_attn.o_proj")
            x = norm(hidden, prefix + "post_attention_layernorm")
            hidden = hidden + product(
                F.silu(product(x, "mlp.gate_proj")) * product(x, "mlp.up_proj"), "mlp.down_proj"
            )
        return norm(hidden, "norm")[-1]

    def _block(
        self,
        state: torch.Tensor,
        taken: torch.Tensor,
        room: int,
        loss: float | None,
        first: bool,
        losses: list[float],
    ) -> list[tuple[int, bool]]:
        c = self.config.decoder
        scores = (self.weights["gaze_decoder.lm_head.weight"] @ state).view(c.num_multi_token_pred, -1)
        predicted = self.weights["gaze_decoder.task_loss_prediction_head.weight"] @ state
        block: list[tuple[int, bool]] = []
        for row, expected in zip(scores[:room], predicted[:room], strict=True):
            chosen = int(row.masked_fill(taken, -math.inf).argmax())
            taken[chosen] = True
            padded = loss is not None and bool(expected <= loss) and not (first and not block)
            block.append((self.config.eos_id if padded else chosen, padded))
            losses.append(float(expected))
        return block
