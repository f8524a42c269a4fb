"""The student looks at clips by itself: a whole batch at once, with the same number of ids in each frame."""

from __future__ import annotations

import torch

from .student import Memory, Plan, Student


@torch.no_grad()
def look(
    student: Student, frames: torch.Tensor, plan: Plan, window: int = 16
) -> tuple[list[torch.Tensor], torch.Tensor]:
    """Choose as a stream does whose history slides.

    Args:
        student: the network.
        frames: uint8 (batch, frames, 3, side, side).
        plan: ids of each frame.
        window: frames of history, at least 2.

    Returns:
        Each frame's ids, int64 (batch, n), and the predicted losses of all blocks, float32 (batch, blocks, K).
    """
    batch = len(frames)
    vision = student.see(frames)
    positions = plan.positions().to(frames.device)
    memory = Memory(student.config.decoder, len(positions))
    result: list[torch.Tensor] = []
    losses: list[torch.Tensor] = []
    embed = student.gaze_decoder.model.embed_tokens
    begun = 0  # tokens that have entered
    waiting = torch.zeros(batch, 0, dtype=torch.int64, device=frames.device)
    sizes: list[int] = []
    for frame, count in enumerate(plan.counts):
        if len(sizes) == window:
            memory.forget(sizes.pop(0))
        entering = torch.cat([embed(waiting).to(vision.dtype), vision[:, frame]], 1)
        if sizes:
            sizes[-1] += waiting.shape[1]
        sizes.append(plan.vision)
        taken = torch.zeros(batch, student.config.decoder.vocab_size, dtype=torch.bool, device=frames.device)
        taken[:, student.config.eos_id] = True
        chosen: list[torch.Tensor] = []
        for block in range(plan.blocks(frame)):
            size = entering.shape[1]
            hidden = student.decode(entering, positions[begun : begun + size], memory)
            begun += size
            scores, predicted = student.propose(hidden[:, -1])
            losses.append(predicted)
            slots = min(plan.slots, count - block * plan.slots)
            picks = []
            for slot in range(slots):
                best = scores[:, slot].masked_fill(taken, -torch.inf).argmax(-1)
                taken.scatter_(1, best[:, None], True)
                picks.append(best)
            waiting = torch.stack(picks, 1) if picks else waiting[:, :0]
            chosen.append(waiting)
            if block + 1 < plan.blocks(frame):
                entering = embed(waiting).to(vision.dtype)
                sizes[-1] += slots
        result.append(torch.cat(chosen, 1))
    return result, torch.stack(losses, 1)
