"""What a run's tensors really take, phase by phase: the plan's own books, kept of an ordinary `train()`."""

from __future__ import annotations

import gc
from typing import Any

import pytest
import torch

from ssl4rl.core.grpo import opening
from ssl4rl.core.grpo.record import held_out
from ssl4rl.core.grpo.sampling import replies
from ssl4rl.core.grpo.trainer import Trainer
from ssl4rl.core.grpo.update.learner import Learner
from ssl4rl.core.recipe.recipe import Recipe
from ssl4rl.tools.plan.ledger import Ledger
from tests.core.grpo.runs import run

PHASES = {
    "sampling": [(Trainer, "sample")],
    "log-probs": [(Learner, "with_old_logps")],
    "update": [(Learner, "accumulate"), (Learner, "update")],
    "evaluation": [(held_out, "evaluate")],
}


def peaks(recipe: Recipe, outer: Any = None) -> dict[str, int]:
    """Bytes of tensors when they were most in each phase of a run whose replies are all as long as they may be.

    `outer`: a dispatch mode, entered after the ledger's, in which the run's device is simulated.
    """
    ledger, found = Ledger(), dict[str, int]()
    with pytest.MonkeyPatch.context() as patch:
        for phase, places in PHASES.items():
            for owner, name in places:
                patch.setattr(owner, name, _watched(getattr(owner, name), phase, ledger, found))
        load, begin = opening.load, replies.Replies.__init__

        def loaded(*args: Any, **more: Any) -> Any:
            policy = load(*args, **more)
            ledger.assign([*policy.model.parameters(), *policy.model.buffers()], "weights")
            return policy

        def endless(self: replies.Replies, *args: Any) -> None:
            begin(self, *args)
            self._eos_E = torch.full_like(self._eos_E, -1)

        patch.setattr(opening, "load", loaded)
        patch.setattr(replies.Replies, "__init__", endless)
        with ledger:
            run(recipe)
    return found


def _watched(function: Any, phase: str, ledger: Ledger, found: dict[str, int]) -> Any:
    def watched(*args: Any, **more: Any) -> Any:
        gc.collect()
        ledger.restart()
        out = function(*args, **more)
        found[phase] = max(found.get(phase, 0), sum(ledger.peak.values()))
        return out

    return watched
