"""The teacher-forced pass: how likely the network finds the choices of a finished clip.

Here the tokens simply follow one another, each frame's vision tokens and then its choices, with positions counted up
throughout. That is how the network was trained, and not how it chooses (see `generation`: blocks share positions),
so these values differ a little from the scores at the time of choosing.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from .clip import Clip
from .config import ModelConfig
from .decoder import Decoder
from .generation import Context
from .vision import Vision

PROBABILITY_FLOOR = 1e-8


def teacher_forced(
    vision: Vision,
    decoder: Decoder,
    config: ModelConfig,
    pixels: torch.Tensor,
    contexts: Sequence[Context],
    clip: Clip,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Rate a clip's choices.

    Args:
        pixels: float32 (B, T, 3, side, side).
        contexts: one fresh context for each clip, with room for all frames.
        clip: the choices; padded slots are not fed, but rated like the others (their id is the padding id).

    Returns:
        `log_action_probs`, the log-probability of each slot's id (softmax over all ids and the padding id, with
        the reference's 1e-8 added to the probability), and `task_loss_prediction`, the loss expected once that
        slot is seen, i.e. the prediction for the slot after it: float32 (B, N) on the CPU. NaN for slots that
        only fill up a batch.
    """
    shape = clip.gazing_pos.shape
    log_probs, losses = torch.full(shape, float("nan")), torch.full(shape, float("nan"))
    begin = 0
    for t, count in enumerate(clip.num_gazing_each_frame.tolist()):
        here = slice(begin, begin + count)
        begin += count
        tokens = vision(pixels[:, t], [context.vision_memory for context in contexts])
        for b, context in enumerate(contexts):
            ids = (clip.gazing_pos[b, here] - t * config.num_ids).to(pixels.device)
            padded = clip.if_padded_gazing[b, here].to(pixels.device)
            rated = _rate(decoder, context, tokens[b], ids, padded)
            log_probs[b, here], losses[b, here] = rated[0].cpu(), rated[1].cpu()
    filler = clip.predicted_loss.isnan()
    return log_probs.masked_fill_(filler, float("nan")), losses.masked_fill_(filler, float("nan"))


def _rate(
    decoder: Decoder, context: Context, tokens: torch.Tensor, ids: torch.Tensor, padded: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """One frame: vision tokens (n, hidden), ids (slots,), padded (slots,) -> two float32 (slots,)."""
    slots, block = len(ids), decoder.config.num_multi_token_pred
    hidden = torch.cat([tokens, decoder.embed(ids[~padded])])
    context.history.begin_frame()
    context.history.reserve(len(hidden))
    positions = torch.arange(context.position, context.position + len(hidden), device=hidden.device)
    context.position += len(hidden)
    scores, predicted = decoder(hidden, positions, [context.history], [len(hidden)], everywhere=True)

    # Row of each slot's token. A padded one has no row; only where it ends a block is it asked, and then it sees
    # what is valid before it (all of the frame, since padding ends a frame) from the last valid position.
    row = len(tokens) - 1 + (~padded).cumsum(0)
    asked = decoder.embed(ids[-1:])
    last, position = context.history, torch.tensor([context.position - 1], device=hidden.device)
    extra_scores, extra_losses = decoder(asked, position, [last], [1], everywhere=True, remember=False)
    row = torch.where(padded, len(hidden), row)
    scores, predicted = torch.cat([scores, extra_scores]), torch.cat([predicted, extra_losses])

    # Head i % K after the last token of the block before slot i's own proposes slot i.
    row = torch.cat([torch.tensor([len(tokens) - 1], device=row.device), row])
    slot = torch.arange(slots + 1, device=row.device)
    source, head = row[slot // block * block], slot % block
    chances = scores[source[:-1], head[:-1]].softmax(-1).gather(1, ids[:, None])[:, 0]
    return (chances + PROBABILITY_FLOOR).log(), predicted[source[1:], head[1:]]
