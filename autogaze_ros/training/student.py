"""The network as a trainable module, and the order in which inference shows it tokens.

The same computation as `autogaze_ros.model`, whose streaming it must match: one causal pass over a
stretch of frames, each frame's vision tokens followed by its chosen ids, with the positions that a stream gives them.
The names of the parameters are those of the checkpoint.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.attention.bias import causal_lower_right

from ..model.config import DecoderConfig, ModelConfig, PreprocessorConfig
from ..model.rotary import frequencies
from ..model.vision import LAYER_NORM_EPS

PADDING = 256


@dataclass(frozen=True)
class Plan:
    """How many ids are chosen in each frame, the same in all clips of a batch, and what follows from it.

    Attributes:
        counts: ids of each frame.
        closing: frames that end with a block that is all padding, as where a loss threshold stops a frame right
            after a full block: then that full block has been fed back, instead of waiting for the next frame.
        vision: vision tokens of a frame.
        slots: K, ids of a block.
    """

    counts: tuple[int, ...]
    closing: tuple[bool, ...]
    vision: int = 196
    slots: int = 10

    def blocks(self, frame: int) -> int:
        """Blocks that are proposed in a frame, the one that is all padding included."""
        full, rest = divmod(self.counts[frame], self.slots)
        return full + (rest > 0 or self.closing[frame])

    def part(self, begin: int, end: int) -> Plan:
        """The plan of some of the frames."""
        return Plan(self.counts[begin:end], self.closing[begin:end], self.vision, self.slots)

    def positions(self) -> torch.Tensor:
        """int64 (length,): positions of all tokens in the order in which they enter.

        A prefill's tokens, the last block of the frame before among them, count on from what was there; blocks
        fed back within a frame sit on the last K positions of its prefill.
        """
        parts, index = [], 0
        for frame, count in enumerate(self.counts):
            ready = index + self.vision
            fed = min(count, (self.blocks(frame) - 1) * self.slots)
            parts.append(torch.arange(index, ready))
            parts.append(ready - self.slots + torch.arange(fed) % self.slots)
            parts.append(torch.arange(ready + fed, ready + count))
            index = ready + count
        return torch.cat(parts)

    def rows(self) -> torch.Tensor:
        """int64 (sum of blocks,): the token after which each block is proposed."""
        parts, index = [], 0
        for frame, count in enumerate(self.counts):
            last = index + self.vision - 1
            parts.append(last + self.slots * torch.arange(self.blocks(frame)))
            index += self.vision + count
        return torch.cat(parts)


class Memory:
    """Keys and values of a batch of streams that step together, for choosing.

    Args:
        config: of the decoder.
        capacity: tokens that will enter, forgotten ones included.
    """

    def __init__(self, config: DecoderConfig, capacity: int) -> None:
        self.config, self.capacity = config, capacity
        self.begin = 0
        self._stores: list[torch.Tensor] = []  # of each layer: (2, batch, heads, capacity, head_dim)
        self._ends = [0] * config.num_layers

    def extend(self, layer: int, key: torch.Tensor, value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Add (batch, heads, n, head_dim) and return all that is remembered."""
        if len(self._stores) == layer:
            batch, heads, _, size = key.shape
            self._stores.append(key.new_empty(2, batch, heads, self.capacity, size))
        store, end = self._stores[layer], self._ends[layer] + key.shape[2]
        store[0, :, :, self._ends[layer] : end] = key
        store[1, :, :, self._ends[layer] : end] = value
        self._ends[layer] = end
        return store[0, :, :, self.begin : end], store[1, :, :, self.begin : end]

    def forget(self, count: int) -> None:
        """Drop the oldest tokens."""
        self.begin += count


class _Part(nn.Module):
    """Parts under the names that the checkpoint gives them."""

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...


class Student(_Part):
    """AutoGaze's network.

    Args:
        config: the sizes.
        preprocessor: how pixels become the network's input.
    """

    def __init__(self, config: ModelConfig, preprocessor: PreprocessorConfig) -> None:
        super().__init__()
        self.config, self.preprocessor = config, preprocessor
        c, decoder = config.vision_dim, config.decoder
        hidden = decoder.hidden_size
        self.vision_model = _Part()
        patch = (1, config.patch_size, config.patch_size)
        self.vision_model.temporal_conv = nn.Conv3d(3, c, patch, patch)
        self.vision_model.norm = nn.LayerNorm(c, LAYER_NORM_EPS)
        block = _Part()
        block.conv3d = nn.Conv3d(c, c, 3)
        self.vision_model.blocks = nn.ModuleList([block])
        self.vision_model.out_proj = nn.Conv3d(c, hidden, 1)
        self.connector = _Part()
        self.connector.pos_embed = nn.Parameter(torch.randn(config.num_vision_tokens, hidden) * 0.02)
        self.gaze_decoder = _Part()
        self.gaze_decoder.model = _Part()
        self.gaze_decoder.model.embed_tokens = nn.Embedding(decoder.vocab_size, hidden)
        self.gaze_decoder.model.layers = nn.ModuleList([_Layer(decoder) for _ in range(decoder.num_layers)])
        self.gaze_decoder.model.norm = nn.RMSNorm(hidden, decoder.rms_norm_eps)
        slots = decoder.num_multi_token_pred
        self.gaze_decoder.lm_head = nn.Linear(hidden, slots * decoder.vocab_size, bias=False)
        self.gaze_decoder.task_loss_prediction_head = nn.Linear(hidden, slots, bias=False)
        nn.init.normal_(self.gaze_decoder.model.embed_tokens.weight, std=0.3)
        nn.init.normal_(self.gaze_decoder.lm_head.weight, std=0.02)
        nn.init.normal_(self.gaze_decoder.task_loss_prediction_head.weight, std=0.02)
        layer: Any
        for layer in self.gaze_decoder.model.layers:
            layer.start(decoder.num_layers)
        self.register_buffer("_frequency", frequencies(decoder.rope, decoder.head_dim), persistent=False)
        self.register_buffer("_mean", torch.tensor(preprocessor.mean), persistent=False)
        self.register_buffer("_deviation", torch.tensor(preprocessor.std), persistent=False)

    def see(self, frames: torch.Tensor) -> torch.Tensor:
        """Frames uint8 (batch, frames, 3, side, side) to vision tokens (batch, frames, tokens, hidden).

        Frames before the first count as absent, as at the start of a stream.
        """
        b, t = frames.shape[:2]
        g, p, model = self.config.vision_grid, self.config.patch_size, self.vision_model
        patches = frames.view(b * t, 3, g, p, g, p).permute(0, 2, 4, 3, 5, 1)
        pixels = patches.to(torch.float32) * self.preprocessor.scale + self.preprocessor.offset
        pixels = (pixels - self._mean) / self._deviation
        weight = model.temporal_conv.weight[:, :, 0].permute(2, 3, 1, 0).flatten(0, 2)  # (p * p * 3, c)
        x = pixels.reshape(b * t * g * g, -1) @ weight + model.temporal_conv.bias
        x = model.norm(x).view(b * t, g, g, -1).permute(0, 3, 1, 2)
        kernel = model.blocks[0].conv3d.weight
        stacked = torch.cat([kernel[:, :, 2], kernel[:, :, 1], kernel[:, :, 0]])
        mixed = F.conv2d(x, stacked, padding=1).view(b, t, 3, -1, g, g)
        now, to_next, to_second = mixed.unbind(2)
        total = now + F.pad(to_next, (0, 0, 0, 0, 0, 0, 1, 0))[:, :t]
        total = total + F.pad(to_second, (0, 0, 0, 0, 0, 0, 2, 0))[:, :t]
        total = F.relu(total + model.blocks[0].conv3d.bias[:, None, None])
        tokens = total.flatten(3).transpose(2, 3)  # (b, t, g * g, c)
        out = F.linear(tokens, model.out_proj.weight.flatten(1), model.out_proj.bias)
        return out + self.connector.pos_embed

    def sequence(self, vision: torch.Tensor, ids: Sequence[torch.Tensor]) -> torch.Tensor:
        """Vision tokens (batch, frames, tokens, hidden) and each frame's ids (batch, n) in the order of entering."""
        parts = []
        for frame, chosen in enumerate(ids):
            parts += [vision[:, frame], self.gaze_decoder.model.embed_tokens(chosen).to(vision.dtype)]
        return torch.cat(parts, 1)

    def decode(
        self, hidden: torch.Tensor, positions: torch.Tensor, memory: Memory | None = None
    ) -> torch.Tensor:
        """Run tokens (batch, n, hidden) at positions (n,) through the decoder; returns the same shape, normed.

        With a memory the tokens are new ones behind those that it holds.
        """
        angle = positions[:, None].float() * self._frequency
        cosine, sine = angle.cos(), angle.sin()
        for index, layer in enumerate(self.gaze_decoder.model.layers):
            hidden = layer(hidden, cosine, sine, index, memory)
        return self.gaze_decoder.model.norm(hidden)

    def propose(self, hidden: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(..., hidden) after `decode` to scores (..., K, vocab) and predicted losses (..., K), float32."""
        slots = self.config.decoder.num_multi_token_pred
        scores = self.gaze_decoder.lm_head(hidden).float().unflatten(-1, (slots, -1))
        with torch.autocast(hidden.device.type, enabled=False):
            losses = self.gaze_decoder.task_loss_prediction_head(hidden.float())
        return scores, losses

    def forward(
        self, frames: torch.Tensor, ids: Sequence[torch.Tensor], plan: Plan, skip: int = 0
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Scores (batch, blocks, K, vocab) and predicted losses (batch, blocks, K) of all blocks of a plan.

        The first `skip` frames are seen by the vision model only: what a sliding window has let go.
        """
        vision = self.see(frames)[:, skip:]
        hidden, positions = self.sequence(vision, ids), plan.positions().to(frames.device)
        # Few different lengths: fast attention is planned for each. What is added at the end nobody sees.
        more = -hidden.shape[1] % PADDING if frames.is_cuda else 0
        hidden = self.decode(F.pad(hidden, (0, 0, 0, more)), F.pad(positions, (0, more)))
        return self.propose(hidden[:, plan.rows().to(hidden.device)])


class _Layer(_Part):
    """RMSNorm, causal attention, RMSNorm, SwiGLU."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.heads, hidden, inner = config.num_heads, config.hidden_size, config.intermediate_size
        self.self_attn = _Part()
        for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
            self.self_attn.add_module(name, nn.Linear(hidden, hidden, bias=False))
        self.mlp = _Part()
        self.mlp.gate_proj = nn.Linear(hidden, inner, bias=False)
        self.mlp.up_proj = nn.Linear(hidden, inner, bias=False)
        self.mlp.down_proj = nn.Linear(inner, hidden, bias=False)
        self.input_layernorm = nn.RMSNorm(hidden, config.rms_norm_eps)
        self.post_attention_layernorm = nn.RMSNorm(hidden, config.rms_norm_eps)

    def start(self, layers: int) -> None:
        """Random weights; what is added to the stream is small at first."""
        part: Any
        for part in (*self.self_attn.children(), *self.mlp.children()):
            nn.init.normal_(part.weight, std=part.in_features**-0.5)
        for part in (self.self_attn.o_proj, self.mlp.down_proj):
            part.weight.data *= (2 * layers) ** -0.5

    def forward(
        self,
        hidden: torch.Tensor,
        cosine: torch.Tensor,
        sine: torch.Tensor,
        index: int,
        memory: Memory | None,
    ) -> torch.Tensor:
        """(batch, n, hidden) to the same shape; cosine and sine are (n, head_dim / 2)."""
        x, attention = self.input_layernorm(hidden), self.self_attn
        weight = torch.cat([attention.q_proj.weight, attention.k_proj.weight, attention.v_proj.weight])
        qkv = F.linear(x, weight).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        first, second = qkv[:2].chunk(2, dim=-1)
        cosine, sine = cosine.to(qkv.dtype), sine.to(qkv.dtype)
        turned = torch.cat([first * cosine - second * sine, second * cosine + first * sine], -1)
        query, key, value = turned[0], turned[1], qkv[2]
        if memory is None:
            seen = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        else:
            key, value = memory.extend(index, key, value)
            seen = _newest(query, key, value)
        hidden = hidden + attention.o_proj(seen.transpose(1, 2).flatten(2))
        x, mlp = self.post_attention_layernorm(hidden), self.mlp
        return hidden + mlp.down_proj(F.silu(mlp.gate_proj(x)) * mlp.up_proj(x))


def _newest(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """Causal attention of the newest tokens over all of them."""
    new, every = query.shape[2], key.shape[2]
    if query.is_cuda:
        # Other backends plan anew for each of the many lengths, which takes longer than the work.
        with sdpa_kernel([SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]):
            return F.scaled_dot_product_attention(query, key, value, attn_mask=causal_lower_right(new, every))
    mask = torch.ones(new, every, dtype=torch.bool).tril(every - new)
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
