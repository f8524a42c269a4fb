"""Two optimisers as one: Muon for the decoder's matrices, AdamW for the rest; and averaged weights."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from .student import Student


class Optimizer:
    """Steps a student's weights and keeps their moving average.

    Args:
        student: the network.
        rate: highest learning rate.
        decay: weight decay.
    """

    def __init__(self, student: Student, rate: float, decay: float) -> None:
        named = dict(student.named_parameters())
        matrices = [p for name, p in named.items() if ".layers." in name and p.ndim == 2]
        chosen = {id(p) for p in matrices}
        others = [p for p in named.values() if id(p) not in chosen]
        self.rate, self.student = rate, student
        self.steps = 0
        fused = others[0].is_cuda
        muon: Any = torch.optim.Muon(matrices, lr=rate, weight_decay=decay, adjust_lr_fn="match_rms_adamw")
        adam = torch.optim.AdamW(others, lr=rate, betas=(0.9, 0.98), weight_decay=decay, fused=fused)
        self._parts: list[torch.optim.Optimizer] = [muon, adam]
        self.average: Student = copy.deepcopy(student).requires_grad_(False).eval()

    def step(self, share: float) -> None:
        """One step at a share of the highest rate, with gradients of a norm of 1 at most."""
        nn.utils.clip_grad_norm_(self.student.parameters(), 1.0)
        for part in self._parts:
            for group in part.param_groups:
                group["lr"] = self.rate * share
            part.step()
            part.zero_grad(set_to_none=True)
        self.steps += 1
        keep = min(0.998, (1 + self.steps) / (20 + self.steps))
        with torch.no_grad():
            mine = [p.data for p in self.average.parameters()]
            torch._foreach_lerp_(mine, [p.data for p in self.student.parameters()], 1 - keep)

    def state(self) -> dict[str, Any]:
        """All that a later run needs, moments in bfloat16."""

        def small(value: Any) -> Any:
            if isinstance(value, torch.Tensor) and value.numel() > 1:
                return value.to("cpu", torch.bfloat16)
            if isinstance(value, dict):
                return {key: small(part) for key, part in value.items()}
            return value

        return {"steps": self.steps, "parts": [small(part.state_dict()) for part in self._parts]}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self.steps = state["steps"]
        for part, values in zip(self._parts, state["parts"], strict=True):
            part.load_state_dict(values)
            for moments in part.state.values():
                for name, value in moments.items():
                    if isinstance(value, torch.Tensor) and value.numel() > 1:
                        moments[name] = value.float()
