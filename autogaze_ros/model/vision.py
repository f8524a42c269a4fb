"""The vision model: one frame becomes 14 x 14 tokens, with a look at the two frames before it.

Patches of 16 x 16 pixels are projected (a convolution whose stride is its kernel: one matrix product) and
normalised. Then one causal 3 x 3 x 3 convolution with ReLU mixes a patch with its neighbours in this frame and the
two earlier ones, zeros standing for frames before the first. A last projection and a learned position follow.

Streaming: the three slices of the causal kernel see a frame once as the newest, once as the one before and once as
the oldest. All three products are computed when the frame arrives, as one convolution with three times the
channels; what belongs to the next two frames is kept as a sum. So each frame is convolved once, and no earlier
input is stored.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from .config import ModelConfig

LAYER_NORM_EPS = 1e-5


class Vision:
    """Weights of the vision model and the connector, laid out for matrix products."""

    def __init__(
        self, weights: dict[str, torch.Tensor], config: ModelConfig, device: torch.device, dtype: torch.dtype
    ) -> None:
        def place(tensor: torch.Tensor) -> torch.Tensor:
            return tensor.to(device, dtype)

        self.dim, self.grid, self.patch = config.vision_dim, config.vision_grid, config.patch_size
        self.patch_weight = place(weights["vision_model.temporal_conv.weight"].flatten(1).t().contiguous())
        self.patch_bias = place(weights["vision_model.temporal_conv.bias"])
        self.norm_weight = place(weights["vision_model.norm.weight"])
        self.norm_bias = place(weights["vision_model.norm.bias"])
        kernel = weights["vision_model.blocks.0.conv3d.weight"]
        # Output channels: for this frame, for the next one, for the one after that. Inputs: a cell's nine
        # neighbours, row by row, each with its channels.
        stacked = torch.cat([kernel[:, :, 2], kernel[:, :, 1], kernel[:, :, 0]]).permute(2, 3, 1, 0)
        self.conv_weight = place(stacked.reshape(9 * self.dim, 3 * self.dim).contiguous())
        self.conv_bias = place(weights["vision_model.blocks.0.conv3d.bias"])
        self.out_weight = place(weights["vision_model.out_proj.weight"].flatten(1).t().contiguous())
        # The projection's bias and the position embedding are both added to each token: one table.
        self.out_bias = place(weights["connector.pos_embed"] + weights["vision_model.out_proj.bias"])

    def new_memory(self) -> torch.Tensor:
        """What earlier frames add to the next frame and to the one after it: (2, tokens, dim), zero at first."""
        weight = self.patch_weight
        return torch.zeros(2, self.grid**2, self.dim, device=weight.device, dtype=weight.dtype)

    def __call__(self, pixels: torch.Tensor, memories: list[torch.Tensor]) -> torch.Tensor:
        """One frame of each of n streams.

        Args:
            pixels: float (n, 3, side, side) from preprocessing.
            memories: each stream's `new_memory`, brought one frame further in place.

        Returns:
            (n, tokens, hidden): the frames' vision tokens, row by row.
        """
        n, g, p = len(pixels), self.grid, self.patch
        patches = pixels.to(self.patch_weight.dtype).view(n, 3, g, p, g, p).permute(0, 2, 4, 1, 3, 5)
        x = torch.addmm(self.patch_bias, patches.reshape(n * g * g, -1), self.patch_weight)
        x = F.layer_norm(x, (self.dim,), self.norm_weight, self.norm_bias, LAYER_NORM_EPS)

        # The convolution as one product with each cell's neighbourhood, zeros around the frame. (Also because
        # cuDNN would round float32 to TF32 unless the whole process is told not to.)
        around = F.pad(x.view(n, g, g, self.dim), (0, 0, 1, 1, 1, 1)).unfold(1, 3, 1).unfold(2, 3, 1)
        around = around.permute(0, 1, 2, 4, 5, 3).reshape(n * g * g, 9 * self.dim)
        mixed = torch.mm(around, self.conv_weight).view(n, g * g, 3 * self.dim)
        now, to_next, to_second = mixed.chunk(3, dim=-1)
        block = torch.empty_like(now)
        for i, memory in enumerate(memories):
            torch.add(now[i], memory[0], out=block[i])
            torch.add(to_next[i], memory[1], out=memory[0])
            memory[1].copy_(to_second[i])
        block.add_(self.conv_bias).relu_()
        return torch.matmul(block, self.out_weight) + self.out_bias
