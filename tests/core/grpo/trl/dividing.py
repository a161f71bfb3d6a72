"""A run by TRL that divides its model, without a GPU: `torchrun --nproc_per_node=2 -m tests.core.grpo.trl.dividing`.

accelerate divides models on GPUs alone, so it is told here that the CPU is each process's GPU; all that follows is its
own FSDP2, over gloo. Arguments: OUT, the recipe's sections as JSON. Each process writes OUT/rankN.json: `all`, the
elements of the model's weights; `held`, those that it holds at each evaluation; `passes`, the batches that it sampled
then, with those it joined for others; `answers`, what it sampled for itself.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from accelerate.state import PartialState
from accelerate.utils import DistributedType
from torch import nn
from torch.distributed.tensor import DTensor

from ssl4rl.core.grpo.trl import engine
from ssl4rl.core.grpo.trl.divided import Divided
from tests.core.grpo.runs import recipe, run


def _on_cpu(state: Any) -> None:
    state.device = torch.device("cpu")


def _elements(model: nn.Module) -> int:
    local = (p.to_local() if isinstance(p, DTensor) else p for p in model.parameters())
    return sum(p.numel() for p in local if p.device.type != "meta")


def main(out: Path, sections: dict[str, Any]) -> None:
    """Runs it."""
    torch.set_num_threads(1)
    seen: dict[str, Any] = {"held": [], "all": 0, "passes": [], "answers": []}
    evaluate, prepare = engine.evaluate_if_due, engine._Session.prepare
    generate, complete = Divided._generate, Divided.complete

    def prepared(session: Any, *args: Any) -> None:
        seen["all"] = sum(p.numel() for p in session.policy.model.parameters())
        prepare(session, *args)

    def evaluated(run: Any, trainer: Any, *args: Any) -> bool:
        seen["held"].append(_elements(trainer.policy.model))
        seen["passes"].append(0)
        seen["answers"].append([])
        return evaluate(run, trainer, *args)

    def counted(self: Divided, *args: Any) -> Any:
        seen["passes"][-1] += 1
        return generate(self, *args)

    def completed(self: Divided, *args: Any) -> Any:
        groups = complete(self, *args)
        seen["answers"][-1] += [group[0].ids.tolist() for group in groups]
        return groups

    with (
        mock.patch.object(PartialState, "_prepare_backend", return_value=("gloo", DistributedType.MULTI_GPU)),
        mock.patch.object(PartialState, "set_device", _on_cpu),
        mock.patch.object(engine, "evaluate_if_due", evaluated),
        mock.patch.object(engine._Session, "prepare", prepared),
        mock.patch.object(Divided, "_generate", counted),
        mock.patch.object(Divided, "complete", completed),
    ):
        run(recipe(out, engine="trl", **sections))
    (out / f"rank{os.environ['RANK']}.json").write_text(json.dumps(seen))


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))
