"""How a frame is looked at: prefill its vision tokens, then choose patches in blocks until enough is seen.

1. The last block of the frame before (chosen, but not yet run through the decoder) and the frame's vision tokens go
   through the decoder in one pass.
2. The last position proposes K slots at once. Slot by slot the best id that this frame has not taken is taken.
3. With a loss threshold, a slot whose predicted loss is at most the threshold becomes padding (never the frame's
   first slot); its id stays taken. The frame ends after the first block with padding, or at the budget.
4. Otherwise the block is fed back, at the last K positions of the prefill (the same at each step), and the next
   one is proposed.

Padding occurs in a frame's last block only, and padded slots neither count in positions nor are seen by later
tokens; so a context holds and feeds valid ids only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from .cache import History
from .config import ModelConfig
from .decoder import Decoder
from .errors import DeviceError
from .vision import Vision

Sampler = Callable[[np.ndarray], int]
"""Draws an index from probabilities, float64 (vocab,), that add up to 1."""


@dataclass(frozen=True, eq=False)
class Gaze:
    """What was chosen in one frame, slot by slot in the order of choosing.

    Attributes:
        ids: int64 (n,); 0 .. num_ids - 1, in a padded slot num_ids (265).
        padded: bool (n,).
        confidence: float32 (n,), probability of the id among those still allowed in its slot; 0 where padded.
        predicted_loss: float32 (n,), the reconstruction loss that the network expects before this slot is taken, the
            frame's earlier ones being seen; so rule 3 leaves a slot out where enough is seen without it.
        frame: frames of this context before this one.
        blocks: passes of the decoder that the frame took.
    """

    ids: np.ndarray
    padded: np.ndarray
    confidence: np.ndarray
    predicted_loss: np.ndarray
    frame: int
    blocks: int

    @property
    def kept(self) -> np.ndarray:
        """The ids that are not padding, int64, in the order of choosing."""
        return self.ids[~self.padded]


@dataclass
class Context:
    """Everything one stream carries from frame to frame.

    Attributes:
        history: the decoder's keys and values.
        vision_memory: what earlier frames add to the next two, see `Vision.new_memory`.
        window: frames of history, the current one included.
        position: positions given out so far, i.e. the next token's position.
        pending: valid ids of the last block, which enter with the next frame's prefill.
        frame: frames seen since the context began.
    """

    history: History
    vision_memory: torch.Tensor
    window: int
    position: int = 0
    pending: list[int] = field(default_factory=list)
    frame: int = 0

    def clear(self) -> None:
        """Forget everything: the next frame is a first frame."""
        self.history.clear()
        self.vision_memory.zero_()
        self.position = self.frame = 0
        self.pending = []

    def begin_frame(self) -> int:
        """Make room for a frame; returns how many pending ids still belong to a remembered frame."""
        if len(self.history.frames) == self.window:
            self.history.drop_oldest_frame()
        if not self.history.frames:
            self.pending = []
        self.history.begin_frame()
        return len(self.pending)


@dataclass(frozen=True)
class Request:
    """How far to look at one frame.

    Attributes:
        budget: most slots, 1 .. num_ids.
        loss: threshold of the predicted loss, or None.
        temperature: of the softmax that `sample` draws from; without `sample` the best id is taken.
    """

    budget: int
    loss: float | None = None
    temperature: float = 1.0
    sample: Sampler | None = None


class _Choice:
    """The slots chosen so far in one stream's frame."""

    def __init__(self, request: Request, config: ModelConfig) -> None:
        self.request = request
        self.taken = np.zeros(config.eos_id + 1, dtype=bool)
        self.taken[config.eos_id] = True
        self.eos = config.eos_id
        self.ids: list[int] = []
        self.padded: list[bool] = []
        self.confidence: list[float] = []
        self.losses: list[float] = []
        self.blocks = 0
        self.done = False

    def add_block(self, scores: np.ndarray, losses: np.ndarray) -> list[int]:
        """Fill the slots of one block from float32 scores (K, vocab), losses (K,); returns its valid ids."""
        request, valid = self.request, []
        slots = min(len(scores), request.budget - len(self.ids))
        threshold = None if request.loss is None else np.float32(request.loss)
        for row, loss in zip(scores[:slots], losses[:slots], strict=True):
            row = np.where(self.taken, -np.inf, row)
            chosen, confidence = self._pick(row)
            self.taken[chosen] = True
            padded = bool(self.ids) and threshold is not None and bool(loss <= threshold)
            self.ids.append(self.eos if padded else chosen)
            self.padded.append(padded)
            self.confidence.append(0.0 if padded else confidence)
            self.losses.append(float(loss))
            if not padded:
                valid.append(chosen)
        self.blocks += 1
        full = len(self.ids) == request.budget
        self.done = full or len(valid) < slots
        return valid

    def _pick(self, row: np.ndarray) -> tuple[int, float]:
        best = int(row.argmax())
        odds = np.exp(row - row[best])
        total = float(odds.sum())
        if not np.isfinite(total):
            raise DeviceError(
                "the network's scores are not finite; use float32, or check the weights and the input"
            )
        if self.request.sample is None:
            return best, 1.0 / total
        warm = np.exp((row - row[best]).astype(np.float64) / self.request.temperature)
        chosen = self.request.sample(warm / warm.sum())
        return chosen, float(odds[chosen]) / total

    def gaze(self, frame: int) -> Gaze:
        return Gaze(
            ids=np.array(self.ids, dtype=np.int64),
            padded=np.array(self.padded, dtype=bool),
            confidence=np.array(self.confidence, dtype=np.float32),
            predicted_loss=np.array(self.losses, dtype=np.float32),
            frame=frame,
            blocks=self.blocks,
        )


class Generator:
    """Looks at frames with plain PyTorch, on any device, for any number of streams at once."""

    def __init__(self, vision: Vision, decoder: Decoder, config: ModelConfig) -> None:
        self.vision, self.decoder, self.config = vision, decoder, config
        self.on_stage: Callable[[str], None] | None = None
        #: numbers of streams that are not to be rounded up
        self.exact: set[int] = set()

    def batch_size(self, n: int) -> int:
        """How many streams `look` should be given for `n` of them; more where each other number costs something."""
        return n

    def look(
        self,
        pixels: torch.Tensor,
        contexts: Sequence[Context],
        requests: Sequence[Request],
        together: Sequence[Sequence[int]] = (),
    ) -> list[Gaze]:
        """Look at one frame of each stream.

        Args:
            pixels: float (n, 3, side, side), preprocessed.
            contexts: n different contexts of any ages; each is brought one frame further.
            requests: n requests.
            together: groups of streams (indices) that keep step with one another, see `_keep_step`.
        """
        tokens = self.vision(pixels, [context.vision_memory for context in contexts])
        self.mark("vision")
        steps, scores, losses = self._prefill(tokens, contexts)
        self.mark("prefill")
        choices = [_Choice(request, self.config) for request in requests]
        blocks = [choice.add_block(*block) for choice, *block in zip(choices, scores, losses, strict=True)]
        while True:
            going = [i for i, choice in enumerate(choices) if not choice.done]
            if not going:
                break
            scores, losses = self._decode([contexts[i] for i in going], [blocks[i] for i in going],
                                          [steps[i] for i in going])  # fmt: skip
            for i, *block in zip(going, scores, losses, strict=True):
                blocks[i] = choices[i].add_block(*block)
        for context, block in zip(contexts, blocks, strict=True):
            context.pending = block
        for group in together:
            self._keep_step(
                [contexts[i] for i in group], [choices[i] for i in group], [steps[i] for i in group]
            )
        self.mark("decode")
        gazes = []
        for context, choice in zip(contexts, choices, strict=True):
            gazes.append(choice.gaze(context.frame))
            context.frame += 1
        return gazes

    def _keep_step(self, contexts: list[Context], choices: list[_Choice], steps: list[int]) -> None:
        """Run the last block of those streams in a group that needed fewer blocks than the longest.

        The published code looks at the tiles of one picture in a batch that runs until the last tile is done.
        A tile that is done earlier has its last block fed back with the next decode step, at that step's
        positions, and not with the next frame's prefill. In that step its padded slots are still seen (as
        padding ids); only later frames mask them. This is the same for such a group.
        """
        longest = max(choice.blocks for choice in choices)
        size = self.config.decoder.num_multi_token_pred
        for context, choice, step in zip(contexts, choices, steps, strict=True):
            if choice.blocks == longest:
                continue
            last = slice((choice.blocks - 1) * size, None)
            ids, kept = choice.ids[last], [not padded for padded in choice.padded[last]]
            self._feed([context], [ids], torch.arange(step, step + len(ids)))
            context.history.keep_of_newest(kept)
            context.position -= kept.count(False)
            context.pending = []

    def _prefill(
        self, tokens: torch.Tensor, contexts: Sequence[Context]
    ) -> tuple[list[int], np.ndarray, np.ndarray]:
        """Run pending ids and vision tokens; returns the first of the frame's decode positions, and a block."""
        device, parts, counts, starts = tokens.device, [], [], []
        for context, vision in zip(contexts, tokens, strict=True):
            left = context.begin_frame()
            if left:
                parts.append(self.decoder.embed(torch.tensor(context.pending, device=device)))
            parts.append(vision)
            counts.append(left + len(vision))
            context.history.reserve(counts[-1], of_previous=left)
            starts.append(context.position)
            context.position += counts[-1]
        positions = _ranges(starts, counts).to(device)
        scores, losses = self.decoder(torch.cat(parts), positions, [c.history for c in contexts], counts)
        # Each decode step of this frame sits on the last K positions of this prefill.
        steps = [context.position - self.config.decoder.num_multi_token_pred for context in contexts]
        return steps, scores.cpu().numpy(), losses.cpu().numpy()

    def _decode(
        self, contexts: list[Context], blocks: list[list[int]], steps: list[int]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Feed one full block of each stream back; returns the next block's scores and losses."""
        scores, losses = self._feed(contexts, blocks, _ranges(steps, [len(block) for block in blocks]))
        return scores.cpu().numpy(), losses.cpu().numpy()

    def _feed(
        self, contexts: list[Context], blocks: list[list[int]], positions: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Run chosen ids of each stream through the decoder, at these positions (int64, one for each id)."""
        device = self.decoder.embedding.device
        counts = [len(block) for block in blocks]
        for context, count in zip(contexts, counts, strict=True):
            context.history.reserve(count)
            context.position += count
        hidden = self.decoder.embed(torch.tensor([i for block in blocks for i in block], device=device))
        return self.decoder(hidden, positions.to(device), [c.history for c in contexts], counts)

    def mark(self, stage: str) -> None:
        """Tell who measures that a stage is done."""
        if self.on_stage is not None:
            if self.decoder.embedding.is_cuda:
                torch.cuda.synchronize(self.decoder.embedding.device)
            self.on_stage(stage)


def _ranges(starts: list[int], counts: list[int]) -> torch.Tensor:
    """start .. start + count of each stream, one after another, int64."""
    parts = [torch.arange(start, start + count) for start, count in zip(starts, counts, strict=True)]
    return parts[0] if len(parts) == 1 else torch.cat(parts)
