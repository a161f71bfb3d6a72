"""A small run with everything in it, by one process or by those of torchrun; what each computed is written beside it.

`torchrun --nproc_per_node=2 -m tests.core.grpo.ranked OUT [SHARD [key=value ...]] [then OUT ...]`, with values of the
recipe's section train, half=1 for half-precision arithmetic as on a GPU, resume=1; behind each "then" another run.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ssl4rl.core.grpo.model.policy import Policy
from ssl4rl.core.grpo.ranks import open_ranks
from ssl4rl.core.grpo.sampling.sampled import Rollouts
from ssl4rl.core.grpo.stream import Prompt
from ssl4rl.core.grpo.trainer import Trainer
from ssl4rl.core.grpo.update.learner import Learner
from ssl4rl.core.grpo.update.update import Batch
from ssl4rl.core.recipe.recipe import Recipe
from tests.core.grpo.runs import recipe, resumed, run


def everything(out: Path, **sections: Any) -> Recipe:
    """One warm-up step and two GRPO steps of five prompts, some of them dropped and refilled."""
    return recipe(
        out,
        grpo={"prompts_per_step": 5, "refill": 2, "beta": 0.05, "updates_per_step": 1, "advantage_scale": "batch"},
        warmup={"steps": 1, "prompts_per_step": 5, "rehearsal": 0.2},
        train={"steps": 2, "log_rollouts": 100, "seed": 1, **sections.pop("train", {})},
        eval={"n": 5},
        **sections,
    )


def main(out: Path, shard: str = "none", *options: str) -> None:
    """Runs it; writes said, the indices computed and the gradients of each update into OUT/rank.json and rank.pt.

    `state_elements`: of the optimiser's moments on this rank. `gradient_elements`: of the last whole gradient, and of
    this rank's share of a divided one, when the optimiser is about to step.
    """
    torch.set_num_threads(1)
    trainers: list[Trainer] = []
    computed: list[list[int]] = []
    gradients: list[Tensor] = []
    sizes: list[int] = []
    held: list[int] = []
    pairs = [option.split("=") for option in options]
    more: dict[str, Any] = {name: int(value) if value.isdecimal() else value for name, value in pairs}
    half, resume = more.pop("half", 0), more.pop("resume", 0)
    batch, clip, sample = Trainer._batch, torch.nn.utils.clip_grad_norm_, Trainer.sample
    make, update = Policy.__init__, Learner.update

    def rewarded(self: Trainer, prompts: list[Prompt]) -> Rollouts:
        """An untrained model earns 0 everywhere. Here what it says counts, but with every third prompt nothing does."""
        found = sample(self, prompts)
        rows = [
            [(prompt.index % 3 > 0) * float(c.ids.sum() % 5) / 4 for c in row]
            for prompt, row in zip(found.prompts, found.completions, strict=True)
        ]
        return replace(found, reward_PG=torch.tensor(rows).reshape(found.reward_PG.shape))

    def watch(self: Trainer, chosen: Rollouts, positions: list[int], advantage_PG: Tensor) -> Batch:
        computed.append([chosen.prompts[p].index for p in positions])
        sizes.append(self.ranks.size)
        trainers[:] = [self]
        return batch(self, chosen, positions, advantage_PG)

    def keep(parameters: Any, most: float) -> Tensor:
        gradients.append(torch.cat([p.grad.flatten() for p in parameters if p.grad is not None]))
        return clip(parameters, most)

    def made(self: Policy, *arguments: Any) -> None:
        make(self, *arguments)
        self.half = bool(half)

    def updated(self: Learner, lr: float) -> float:
        shares = self.reduced.sums.values() if self.reduced else ()
        held[:] = [sum(p.grad.numel() for p in self.parameters if p.grad is not None), sum(x.numel() for x in shares)]
        return update(self, lr)

    Policy.__init__, Learner.update = made, updated  # type: ignore[assignment, method-assign]
    Trainer._batch, Trainer.sample = watch, rewarded  # type: ignore[method-assign]
    torch.nn.utils.clip_grad_norm_ = keep  # type: ignore[assignment]
    try:
        given = everything(out, train={"shard": shard, **more})
        said = run(resumed(given) if resume else given)
    finally:
        Trainer._batch, Trainer.sample = batch, sample  # type: ignore[method-assign]
        torch.nn.utils.clip_grad_norm_ = clip
        Policy.__init__, Learner.update = make, update  # type: ignore[method-assign]
    name = f"rank{os.environ.get('RANK', '0')}"
    kept = trainers[0].learner.optimizer.state.values()
    elements = sum(one[name].numel() for one in kept for name in ("exp_avg", "exp_avg_sq"))
    record = {"said": said, "computed": computed, "sizes": sizes, "state_elements": elements}
    record["gradient_elements"] = held
    (out / f"{name}.json").write_text(json.dumps(record))
    torch.save(gradients, out / f"{name}.pt")


def runs(arguments: list[str]) -> None:
    """One after another by the same processes, which meet once."""
    given = [list(part) for ends, part in groupby(arguments, "then".__eq__) if not ends]
    with open_ranks(None, "cpu"), pytest.MonkeyPatch.context() as patch:
        for name in ("init_process_group", "destroy_process_group"):
            patch.setattr(torch.distributed, name, lambda *_: None)
        for out, *options in given:
            main(Path(out), *options)


if __name__ == "__main__":
    runs(sys.argv[1:])
