"""Feed a small vision transformer with gazed patches instead of whole frames.

    python examples/sparse_vit.py [VIDEO]

Each frame gives a few 16 x 16 patches at the scale that the gaze chose. The transformer embeds a patch with where
it is and how large, and attends block-causally: to all of its own frame and to what was seen before. The
weights are random: the example shows the plumbing and counts what is saved.
"""

import sys
from itertools import islice
from pathlib import Path

import torch
from torch import nn

from autogaze_ros.gaze import Frame
from autogaze_ros.gaze.readout import block_causal_mask, sparse_patches
from autogaze_ros.pipeline import Pipeline
from autogaze_ros.replay.clips import DrawnClip, Video
from autogaze_ros.settings import Settings


class SparseViT(nn.Module):
    """A transformer over patches of any place and scale.

    Args:
        width: of a token's vector.
        depth: layers.
        heads: of each layer's attention.
    """

    def __init__(self, width: int = 192, depth: int = 4, heads: int = 6) -> None:
        super().__init__()
        self.embed = nn.Linear(16 * 16 * 3, width)
        self.place = nn.Sequential(nn.Linear(4, width), nn.GELU(), nn.Linear(width, width))
        layer = nn.TransformerEncoderLayer(
            width, heads, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)

    def forward(self, patches: torch.Tensor, positions: torch.Tensor, allowed: torch.Tensor) -> torch.Tensor:
        """(1, N, width) features of (N, 16, 16, 3) uint8 patches.

        Args:
            patches: what the tokens carry.
            positions: (N, 4) centre x, centre y, width and height in units of the image.
            allowed: (N, N) bool, True where a row may attend to a column.
        """
        pixels = patches.flatten(1).float() / 127.5 - 1
        tokens = self.embed(pixels) + self.place(positions)
        return self.layers(tokens[None], mask=~allowed)


def main() -> None:
    """Gaze at 16 frames and encode what was seen."""
    clip = Video(Path(sys.argv[1])) if len(sys.argv) > 1 else DrawnClip()
    pipeline = Pipeline(Settings(budget=20))
    patches, positions, frames = [], [], []
    for index, picture in enumerate(islice(clip, 16)):
        frame = Frame(picture, stamp=index * 33_333_333)
        seen = sparse_patches(torch.from_numpy(picture), pipeline.step(frame))
        patches.append(seen.patches)
        positions.append(seen.positions)
        frames += [index] * len(seen.patches)
    torch.manual_seed(0)
    model = SparseViT().eval()
    allowed = block_causal_mask(torch.tensor(frames))
    with torch.inference_mode():
        features = model(torch.cat(patches), torch.cat(positions), allowed)
    dense = 16 * 196
    print(f"{len(frames)} patches of 16 frames instead of {dense}: {dense / len(frames):.1f} times fewer")
    pairs = int(allowed.sum())
    print(f"features {tuple(features.shape)}, attention over {pairs} pairs instead of {dense**2}")


if __name__ == "__main__":
    main()
