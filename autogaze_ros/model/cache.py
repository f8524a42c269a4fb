"""What a stream remembers: the keys and values of its last frames, in a ring of fixed size.

The ring is stored twice, one copy behind the other: token r of the ring lies at r and at r + capacity. Whatever
part of the ring is alive is then one contiguous slice, and attention reads it as it is, without a copy, a gather
or a mask over dead slots. A frame's few hundred tokens are written twice; nothing else is ever moved.

Only tokens that later tokens may see are stored. A padded slot is masked for every later query, so leaving it
out changes nothing, and the slice needs no padding mask.
"""

from __future__ import annotations

from collections import deque

import torch


class History:
    """Keys and values of one stream.

    Attributes:
        keys, values: (layers, heads, 2 * capacity, head_dim); keys are stored rotated.
        start: ring index of the oldest token, 0 <= start < capacity.
        length: tokens alive; the live slice is [start, start + length).
        frames: tokens of each frame alive, oldest first.
    """

    def __init__(
        self, layers: int, heads: int, head_dim: int, capacity: int, device: torch.device, dtype: torch.dtype
    ) -> None:
        shape = (layers, heads, 2 * capacity, head_dim)
        # Zeros, not empty: an unwritten slot must not hold a NaN that a masked product could let through.
        self.keys = torch.zeros(shape, device=device, dtype=dtype)
        self.values = torch.zeros(shape, device=device, dtype=dtype)
        self.capacity = capacity
        self.start = 0
        self.length = 0
        self.frames: deque[int] = deque()

    def clear(self) -> None:
        """Forget everything."""
        self.start = self.length = 0
        self.frames.clear()

    def begin_frame(self) -> None:
        """Count the tokens that follow to a new frame."""
        self.frames.append(0)

    def drop_oldest_frame(self) -> None:
        """Forget the oldest frame. What later frames computed from it stays in their keys and values."""
        gone = self.frames.popleft()
        self.start = (self.start + gone) % self.capacity
        self.length -= gone

    def reserve(self, count: int, of_previous: int = 0) -> None:
        """Make room for `count` new tokens; the first `of_previous` of them belong to the frame before."""
        assert self.length + count <= self.capacity, "the ring is sized for the largest frames"
        self.length += count
        self.frames[-1] += count - of_previous
        if of_previous:
            self.frames[-2] += of_previous

    def write(self, layer: int, keys: torch.Tensor, values: torch.Tensor) -> None:
        """Store the last `n` reserved tokens; keys and values are (n, heads, head_dim)."""
        count = keys.shape[0]
        first = (self.start + self.length - count) % self.capacity
        # The tokens lie at first .. first + count, and their twins one capacity away on either side.
        split = min(count, self.capacity - first)
        for memory, new in (
            (self.keys[layer], keys.transpose(0, 1)),
            (self.values[layer], values.transpose(0, 1)),
        ):
            memory[:, first : first + count] = new
            memory[:, first + self.capacity : first + self.capacity + split] = new[:, :split]
            if split < count:
                memory[:, : count - split] = new[:, split:]

    def read(self, layer: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values alive, each (heads, length, head_dim): views, not copies."""
        alive = slice(self.start, self.start + self.length)
        return self.keys[layer][:, alive], self.values[layer][:, alive]

    def keep_of_newest(self, kept: list[bool]) -> None:
        """Of the newest `len(kept)` tokens, all of this frame, forget those that are not marked."""
        count = len(kept)
        chosen = [i - count for i, keep in enumerate(kept) if keep]
        layers = [
            tuple(part[:, chosen].transpose(0, 1) for part in self.read(i)) for i in range(len(self.keys))
        ]
        self.length -= count - len(chosen)
        self.frames[-1] -= count - len(chosen)
        for layer, (keys, values) in enumerate(layers):
            self.write(layer, keys, values)

    def nbytes(self) -> int:
        """Bytes that the ring takes; never changes."""
        return 2 * self.keys.numel() * self.keys.element_size()
