"""The recipe: draw clips, ask the teacher, train the student; over and over, for a given time.

Some of the clips are walked through by the teacher (with noise in its judgement, so that its past is not always
perfect), the others, once the student knows something, by the student itself; what is to be learned from each state is
always the teacher's choice. Nothing but the drawn clips is ever trained on.

Towards the end reinforcement joins in: what the student's choices would win, of what could be won, is to grow.
AutoGaze's authors estimate that from samples (GRPO); here the teacher knows every token's gain, so the expectation over
the student's choice, and its gradient, are computed as they are.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from ..gaze.metrics import BUILTIN_LOSS_PER_DB
from .checkpoint import load_folder, new_student, save_folder
from .lessons import Classroom, Lessons, judgement, random_plan
from .optimizer import Optimizer
from .rollout import look
from .scenes import make_clips, varied
from .student import Plan, Student

STATE = "state.pt"
MOMENTS = "moments.pt"
LOG = "log.json"


@dataclass(frozen=True)
class Recipe:
    """All numbers of a training.

    Attributes:
        minutes: of training over all runs; the learning rate falls to 0 over them.
        pool: clips that are drawn and taught at once.
        batch: clips of a training step on long sequences; as many frames of shorter ones.
        passes: how often each clip is trained on once it is taught, with another stretch of it each time.
        fresh: one pool in so many is drawn anew, the others are drawn before, mirrored or in other colours.
        kept: pools that are kept for that.
        frames: of a drawn clip.
        short, long: frames of a training sequence in the first `short_share` of the time, and after.
        own_from, own: from which share of the time on the student walks through which share of the pools.
        rate, decay, warm_steps: of the optimiser.
        loss_weight: of the predicted losses against the choice of tokens.
        reward_from, reward_weight: from which share of the time on the expected gain counts how much.
        keyframe_weight: of a block of a clip's first frame against a later one.
        seed: of everything drawn.
    """

    minutes: float = 30.0
    pool: int = 256
    batch: int = 64
    passes: int = 4
    fresh: int = 4
    kept: int = 30
    frames: int = 28
    short: int = 8
    long: int = 16
    short_share: float = 0.45
    own_from: float = 0.12
    own: float = 0.75
    rate: float = 2.5e-3
    decay: float = 0.01
    warm_steps: int = 150
    loss_weight: float = 4.0
    reward_from: float = 0.7
    reward_weight: float = 3.0
    keyframe_weight: float = 0.5
    seed: int = 1


class Training:
    """A student on its way.

    Args:
        recipe: what to do.
        device: to train on.
        values: of `config.json`, for another size.
    """

    def __init__(self, recipe: Recipe, device: torch.device, values: dict[str, Any] | None = None) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self.device, self.values = recipe, device, values
        self.student = new_student(values).to(device)
        self.optimizer = Optimizer(self.student, recipe.rate, recipe.decay)
        self.classroom = Classroom(recipe.pool, device)
        self.seconds = 0.0  # of training so far
        self.pools = 0
        self.log: list[dict[str, float]] = []
        self._drawn: list[torch.Tensor] = []

    @property
    def average(self) -> Student:
        """The moving average of the weights: what is shipped, and what looks at clips by itself."""
        return self.optimizer.average

    def run(self, seconds: float, say: Callable[[str], None] = print, folder: Path | None = None) -> None:
        """Train for so long, or until the recipe's time is over; writes to the folder every two minutes."""
        begun, before, saved = time.monotonic(), self.seconds, time.monotonic()
        whole = self.recipe.minutes * 60
        sums: dict[str, float] = {}
        count = 0
        while self.seconds < whole and time.monotonic() - begun < seconds:
            lessons, own, spent = self._pool()
            for part in self._batches(lessons):
                figures = self._step(*part)
                for name, value in figures.items():
                    sums[name] = sums.get(name, 0.0) + value
                count += bool(figures)
            self.seconds = before + time.monotonic() - begun
            self.pools += 1
            if self.pools % 10 == 0:
                line = {name: round(value / max(count, 1), 4) for name, value in sums.items()}
                line |= {"seconds": round(self.seconds, 1), "steps": self.optimizer.steps}
                line |= {f"{'own' if own else 'teacher'} dB": round(float(lessons.psnr[:, 1:].mean()), 2)}
                line |= {name: round(value, 3) for name, value in spent.items()}
                self.log.append(line)
                say(json.dumps(line))
                sums, count = {}, 0
            if folder and time.monotonic() - saved > 120:
                self.save(folder)
                saved = time.monotonic()

    def save(self, folder: Path) -> None:
        """Write the averaged weights as a model folder, and beside them what a later run goes on from."""
        save_folder(folder, self.average.state_dict(), self.values)
        meta = {"seconds": self.seconds, "pools": self.pools, "recipe": asdict(self.recipe)}
        torch.save({"weights": self.student.state_dict(), **meta}, folder / STATE)
        torch.save(self.optimizer.state(), folder / MOMENTS)
        (folder / LOG).write_text(json.dumps(self.log, indent=0) + "\n")

    def resume(self, folder: Path) -> None:
        """Go on from a folder that `save` wrote."""
        state = torch.load(folder / STATE, map_location=self.device, weights_only=True)
        self.student.load_state_dict(state["weights"])
        self.seconds, self.pools = state["seconds"], state["pools"]
        self.average.load_state_dict(load_folder(folder).state_dict())
        self.optimizer.load(torch.load(folder / MOMENTS, map_location=self.device, weights_only=True))
        self.log = json.loads((folder / LOG).read_text())

    def _pool(self) -> tuple[Lessons, bool, dict[str, float]]:
        """Fresh clips with their lessons, whether the student walked through them, and seconds by stage."""
        recipe = self.recipe
        seed = recipe.seed * 1_000_003 + self.pools
        marks = [self._now()]
        if self.pools % recipe.fresh == 0 or not self._drawn:
            self._drawn.append(make_clips(seed, recipe.pool, recipe.frames, self.device, chunk=128))
            self._drawn = self._drawn[-recipe.kept :]
            frames = self._drawn[-1]
        else:
            frames = varied(self._drawn[seed % len(self._drawn)], seed)
        marks.append(self._now())
        plan = random_plan(seed, recipe.frames)
        late = self.seconds > recipe.own_from * recipe.minutes * 60
        own = late and (self.pools * recipe.own) % 1 < recipe.own
        ids = noise = None
        if own:
            with self._precision():
                ids, _ = look(self.average, frames, plan, recipe.long)
        else:
            noise = judgement(recipe.pool, recipe.frames, self.device)
        marks.append(self._now())
        lessons = self.classroom.teach(frames, plan, ids, noise)
        marks.append(self._now())
        names = ("drawing (s)", "looking (s)", "teaching (s)")
        spent = {name: b - a for name, a, b in zip(names, marks, marks[1:], strict=False)}
        return lessons, own, spent

    def _batches(self, lessons: Lessons) -> list[tuple[Lessons, torch.Tensor, int, int]]:
        """(lessons, rows, first frame, one past the last) of each training step."""
        recipe = self.recipe
        early = self.seconds < recipe.short_share * recipe.minutes * 60
        length = min(recipe.short if early else recipe.long, recipe.frames)
        dice = torch.Generator().manual_seed(self.pools)
        result = []
        for _ in range(recipe.passes):
            order = torch.randperm(recipe.pool, generator=dice).to(self.device)
            for rows in order.split(recipe.batch * recipe.long // length):
                # Some sequences begin with the keyframe, the others as a sliding window does, later.
                start = int(torch.randint(0, recipe.frames - length + 1, (), generator=dice))
                if torch.rand((), generator=dice) < 0.35:
                    start = 0
                result.append((lessons, rows, start, start + length))
        return result

    def _step(self, lessons: Lessons, rows: torch.Tensor, begin: int, end: int) -> dict[str, float]:
        recipe, plan = self.recipe, lessons.plan
        skip = min(begin, 2)
        first = sum(plan.blocks(t) for t in range(begin))
        part = plan.part(begin, end)
        count = sum(part.blocks(t) for t in range(end - begin))
        blocks = slice(first, first + count)
        with self._precision():
            scores, losses = self.student(
                lessons.frames[rows, begin - skip : end],
                [ids[rows] for ids in lessons.ids[begin:end]],
                part,
                skip,
            )
        target, blocked = lessons.target[rows, blocks].float(), lessons.blocked[rows, blocks]
        weight = torch.ones(count, device=self.device)
        if begin == 0:
            weight[: plan.blocks(0)] = recipe.keyframe_weight
        chances = scores[..., :-1].masked_fill(blocked, -1e5).log_softmax(-1)
        surprise = -(target * chances).sum(-1)
        # What a block can win counts: where the picture is as good as it gets, or all is lost, little.
        gain = (lessons.loss[rows, blocks, :1] - lessons.loss[rows, blocks, -1:]) / -BUILTIN_LOSS_PER_DB
        some = (target.sum(-1) > 0.5) * weight[:, None] * (gain / 2).clamp(0.2, 4)
        choice = (surprise * some).sum() / some.sum().clamp_min(1)
        off = F.smooth_l1_loss(losses, lessons.loss[rows, blocks], beta=0.05, reduction="none")
        off = (off * weight[:, None]).sum() / (weight.sum() * off.shape[0] * off.shape[2])
        # Targets are squares of gains: roots of what they are of the best are gains of the best.
        worth = (target / target.amax(-1, keepdim=True).clamp_min(1e-9)).sqrt()
        missed = ((1 - (chances.exp() * worth).sum(-1)) * some).sum() / some.sum().clamp_min(1)
        reward = recipe.reward_weight * (self.seconds > recipe.reward_from * recipe.minutes * 60)
        (choice + recipe.loss_weight * off + reward * missed).backward()
        self.optimizer.step(self._share())
        if self.optimizer.steps % 10:
            return {}
        with torch.no_grad():
            mean_off = (losses - lessons.loss[rows, blocks]).abs().mean() / -BUILTIN_LOSS_PER_DB
            sure = -(target.clamp_min(1e-9).log() * target).sum(-1)
            excess = ((surprise - sure) * some).sum() / some.sum().clamp_min(1)
            figures = {"choice": choice, "excess": excess, "missed gain": missed, "loss off (dB)": mean_off}
            return {name: float(value) for name, value in figures.items()}

    def _share(self) -> float:
        """Of the highest learning rate: a rise, then half a cosine down to 0."""
        rise = min(1.0, (self.optimizer.steps + 1) / self.recipe.warm_steps)
        progress = min(1.0, self.seconds / (self.recipe.minutes * 60))
        return rise * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress)))

    def _precision(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda")

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return time.monotonic()


def measure(
    student: Student, frames: torch.Tensor, counts: tuple[int, ...], precision: torch.autocast
) -> dict[str, float]:
    """How well a student does on clips: PSNR after the first frame, and how far its losses are off.

    Args:
        student: the network.
        frames: uint8 (n, frames, 3, side, side).
        counts: ids of each frame.
        precision: to compute in.
    """
    plan = Plan(counts, (False,) * len(counts))
    with precision:
        ids, losses = look(student, frames, plan)
    classroom = Classroom(len(frames), frames.device)
    mine = classroom.teach(frames, plan, ids)
    best = classroom.teach(frames, plan)
    skip = plan.blocks(0)
    off = (losses - mine.loss)[:, skip:].abs() / -BUILTIN_LOSS_PER_DB
    return {
        "student dB": round(float(mine.psnr[:, 1:].mean()), 2),
        "teacher dB": round(float(best.psnr[:, 1:].mean()), 2),
        "keyframe dB": round(float(mine.psnr[:, 0].mean()), 2),
        "teacher's keyframe dB": round(float(best.psnr[:, 0].mean()), 2),
        "loss off by dB": round(float(off.mean()), 2),
    }
