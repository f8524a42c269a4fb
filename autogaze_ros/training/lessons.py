"""What the student is to learn from a batch of clips: for each slot of each block, how much every token would help.

The teacher is the greedy closed loop without swaps, since the network cannot take back a token. Instead a coarse
token's gain counts for less (`DISCOUNT`), because finer ones will hide it later; on real video that reaches what the
greedy source reaches with swaps. A clip's first frame, which has a large budget, has a discount of its own: fine tokens
come soon, as coarse ones would all be hidden in the end. The order is the order of choice, so a smaller budget is
a stage on the way to a larger one, and the network need not know the budget.

Blocks are proposed by K heads at once. Their lessons are the K next picks of the teacher from the state in which
the block begins, whoever brought the receiver there: the teacher itself, a teacher with noise in its judgement, or
the student. So the student learns to go on from its own mistakes. A head's lesson is a distribution over all tokens,
each weighted by its gain: near ties stay ties.

The loss of a slot is what remains before that slot is taken, so that the rule of inference (a slot whose loss is at
most the threshold becomes padding) ends a frame where the threshold is met.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..gaze.metrics import BUILTIN_LOSS_AT_0_DB, BUILTIN_LOSS_PER_DB
from ..gaze.tokens import DEFAULT_LAYOUT
from .receiver import BatchReceiver
from .student import Plan
from .teacher import Choices, Teacher, first_argmax

DISCOUNT = (0.25, 0.5, 0.75, 1.0)  # by scale, coarse to fine
FIRST_DISCOUNT = (0.25, 0.35, 0.45, 1.0)
SHARPNESS = 2.0


def loss_from_psnr(decibels: torch.Tensor) -> torch.Tensor:
    """The unit of the built-in model's losses: 1 at 25 dB, 0.7 at 37.5, 0.4 at 50, never below 0.

    A straight line, which lies so that the settings' default threshold and the quality knob, made for NVIDIA's
    weights, mean what greedy's target PSNR means there.
    """
    return (BUILTIN_LOSS_AT_0_DB + BUILTIN_LOSS_PER_DB * decibels).clamp_min(0)


def psnr_from_loss(loss: torch.Tensor) -> torch.Tensor:
    """The PSNR in dB that a loss stands for; 66.7 where it is 0, or more."""
    return (loss - BUILTIN_LOSS_AT_0_DB) / BUILTIN_LOSS_PER_DB


def psnr_from_error(total: torch.Tensor, values: int) -> torch.Tensor:
    """dB of a sum of squared differences over so many 8-bit values; inf where it is 0."""
    return 10 * torch.log10(255.0**2 * values / total)


@dataclass
class Lessons:
    """Clips and what to learn from them.

    Attributes:
        frames: uint8 (n, frames, 3, side, side).
        plan: ids of each frame.
        ids: each frame's ids, int64 (n, count).
        target: float16 (n, blocks, K, ids), adding up to 1, or 0 where no token helps.
        blocked: bool of that shape, what was taken before the slot.
        loss: float32 (n, blocks, K), remaining before the slot.
        psnr: float32 (n, frames), of the receiver's pictures in dB, at most 100.
    """

    frames: torch.Tensor
    plan: Plan
    ids: list[torch.Tensor]
    target: torch.Tensor
    blocked: torch.Tensor
    loss: torch.Tensor
    psnr: torch.Tensor


class Classroom:
    """Makes lessons on one device, for batches of one size.

    On a GPU the many small steps of a block are captured once and replayed.
    """

    def __init__(self, batch: int, device: torch.device, slots: int = 10) -> None:
        self.batch, self.device, self.slots = batch, device, slots
        self.layout = DEFAULT_LAYOUT
        self.teacher = Teacher(device)
        scale = torch.tensor(self.layout.table[:, 0], dtype=torch.int64)
        self._discounts = [
            torch.tensor(each, dtype=torch.float64)[scale].to(device) for each in (FIRST_DISCOUNT, DISCOUNT)
        ]
        self._graph: torch.cuda.CUDAGraph | None = None
        self._inputs: list[torch.Tensor] = []
        self._outputs: list[torch.Tensor] = []

    @torch.no_grad()
    def teach(
        self,
        frames: torch.Tensor,
        plan: Plan,
        ids: list[torch.Tensor] | None = None,
        noise: torch.Tensor | None = None,
    ) -> Lessons:
        """Look at clips and say at each block what would have been best.

        Args:
            frames: uint8 (batch, frames, 3, side, side).
            plan: ids of each frame.
            ids: what was chosen; the teacher's own choice where not given.
            noise: (batch, frames, count) factors on the gains by which the teacher's own choice errs.
        """
        receiver = BatchReceiver(self.batch, self.device)
        values = receiver.picture[0].numel()
        chosen_ids, targets, blocked, losses, psnr = [], [], [], [], []
        for t, count in enumerate(plan.counts):
            base, scales = receiver.observe(frames[:, t].float())
            choices = Choices.none(base, scales)
            worth = self._discounts[min(t, 1)].expand(self.batch, -1)
            taken: list[torch.Tensor] = []
            for block in range(plan.blocks(t)):
                target, mask, total, picks = self._block(base, scales, choices.chosen, worth)
                targets.append(target)
                blocked.append(mask)
                losses.append(loss_from_psnr(psnr_from_error(total, values)).float())
                slots = min(self.slots, count - block * self.slots)
                if slots <= 0:
                    continue
                if ids is not None:
                    picks = ids[t][:, block * self.slots :]
                elif noise is not None:
                    picks = self._block(base, scales, choices.chosen, worth * noise[:, t])[3]
                taken.append(picks[:, :slots])
                choices.chosen = choices.chosen.scatter(1, taken[-1], True)
            chosen_ids.append(torch.cat(taken, 1))
            receiver.show(self.teacher.level(choices.chosen).long())
            total = self.teacher.gains(choices)[1]
            psnr.append(psnr_from_error(total, values).clamp_max(100).float())
        stacked = (torch.stack(part, 1) for part in (targets, blocked, losses, psnr))
        return Lessons(frames, plan, chosen_ids, *stacked)

    def _block(
        self, base: torch.Tensor, scales: torch.Tensor, chosen: torch.Tensor, worth: torch.Tensor
    ) -> list[torch.Tensor]:
        """K steps from a state: targets, what is taken before each, errors before each, and the picks.

        Args:
            base: as in `Choices`.
            scales: as in `Choices`.
            chosen: as in `Choices`.
            worth: float64 (batch, count), what a token's gain counts for.
        """
        inputs = [base, scales, chosen, worth]
        if self.device.type != "cuda":
            return self._steps(*inputs)
        if self._graph is None:
            self._inputs = [part.clone() for part in inputs]
            stream = torch.cuda.Stream()
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                self._steps(*self._inputs)
            torch.cuda.current_stream().wait_stream(stream)
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph):
                self._outputs = self._steps(*self._inputs)
        for mine, given in zip(self._inputs, inputs, strict=True):
            mine.copy_(given)
        self._graph.replay()
        return [part.clone() for part in self._outputs]

    def _steps(
        self, base: torch.Tensor, scales: torch.Tensor, chosen: torch.Tensor, worth: torch.Tensor
    ) -> list[torch.Tensor]:
        choices = Choices(base, scales, chosen)
        targets, masks, totals, picks = [], [], [], []
        for _ in range(self.slots):
            gains, total = self.teacher.gains(choices)
            value = gains.clamp_min(0) * worth
            # Where nothing helps any more some token is taken all the same: a slot is never empty.
            best = first_argmax(torch.where(choices.chosen, -1.0, value))
            weight = (value / value.amax(1, keepdim=True).clamp_min(1)) ** SHARPNESS
            weight = weight / weight.sum(1, keepdim=True).clamp_min(1e-9)
            targets.append(weight.half())
            masks.append(choices.chosen)
            totals.append(total)
            picks.append(best)
            choices.add(best)
        return [torch.stack(part, 1) for part in (targets, masks, totals, picks)]


def random_plan(seed: int, frames: int) -> Plan:
    """Budgets as robots use them: a keyframe of up to 198 tokens, then mostly a steady 3 to 40 a frame."""
    import random

    dice = random.Random(seed)
    first = 198 if dice.random() < 0.6 else dice.randint(20, 198)
    if dice.random() < 0.7:
        steady = dice.choice((3, 5, 5, 8, 10, 10, 12, 15, 20, 20, 20, 25, 30, 40))
        rest = [steady] * (frames - 1)
    else:
        most = dice.choice((4, 12, 40))
        rest = [dice.randint(1, most) for _ in range(frames - 1)]
    counts = (first, *rest)
    early = dice.random() < 0.3
    closing = tuple(early and count % 10 == 0 and dice.random() < 0.7 for count in counts)
    return Plan(counts, closing)


def judgement(batch: int, frames: int, device: torch.device) -> torch.Tensor:
    """Factors on the gains of an erring teacher, (batch, frames, count): none in a third of the clips."""
    size = torch.rand(batch, 1, 1, device=device)
    size = (size - 0.33).clamp_min(0) * 3
    noise = torch.randn(batch, frames, DEFAULT_LAYOUT.count, device=device)
    return (noise * size).exp()
