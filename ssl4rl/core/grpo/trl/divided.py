"""A model that TRL divides over its processes (FSDP, DeepSpeed), so that none need hold it whole.

It is loaded into the host's memory; accelerate moves each process's part to its device as TRL's training begins.
Held-out evaluation comes after that, by `generate` on the divided model, as TRL samples. All processes exchange
weights in each pass, so all must enter `generate` equally often: one without prompts left joins with an empty one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP
from transformers import GenerationConfig
from trl.models import unwrap_model_for_generation

from ssl4rl.core.grpo.logps.features import MediaFeatures
from ssl4rl.core.grpo.model.policy import Encoded, Policy, autocast
from ssl4rl.core.grpo.ranks import Ranks
from ssl4rl.core.grpo.sampling.prefill import collate
from ssl4rl.core.grpo.sampling.rollout import Completion, Uniforms
from ssl4rl.core.grpo.sampling.sampler import Sampling


@dataclass
class Divided:
    """Samples held-out completions from the model within `theirs`, TRL's trainer, from when its training begins.

    `policy` knows the tokens; its model is not called by itself. `spare` makes the prompt that this process joins the
    others with: one with pictures where theirs have some, for their vision towers are divided too. Where evaluation
    has a temperature, the random numbers are torch's.
    """

    theirs: Any
    policy: Policy
    ranks: Ranks
    spare: Callable[[], Encoded]

    def complete(
        self,
        prompts: Sequence[Encoded],
        group_size: int,
        sampling: Sampling,
        uniforms: Callable[[int, int], Uniforms] | None = None,
        features: Sequence[MediaFeatures | None] | None = None,
    ) -> list[list[Completion]]:
        """As `Backend` says, but for `uniforms` and `features`, which `generate` has no place for."""
        self.ranks.any(True)
        rows = self._generate([prompt for prompt in prompts for _ in range(group_size)], sampling)
        made = [self._completion(ids_C, sampling) for ids_C in rows.cpu()]
        return [made[at : at + group_size] for at in range(0, len(made), group_size)]

    def wait_for_others(self) -> None:
        """Joins the others' passes until none has prompts left."""
        while self.ranks.any(False):
            self._generate([self.spare()], Sampling(temperature=0, max_new_tokens=1))

    @torch.no_grad()
    def _generate(self, prompts: Sequence[Encoded], sampling: Sampling) -> Tensor:
        policy, drawn = self.policy, sampling.temperature > 0
        batch = collate(prompts, policy.pad_id, policy.device)
        config = GenerationConfig(
            max_new_tokens=sampling.max_new_tokens,
            do_sample=drawn,
            **({"temperature": sampling.temperature, "top_p": 1.0, "top_k": 0} if drawn else {}),
            repetition_penalty=1.0,
            eos_token_id=policy.eos_ids,
            pad_token_id=policy.pad_id,
            suppress_tokens=policy.banned_ids or None,
            disable_compile=True,
        )
        with self._entered() as model, autocast(policy):
            ids_RT: Tensor = model.generate(**batch, generation_config=config, synced_gpus=self.ranks.size > 1)
        return ids_RT[:, batch["input_ids"].shape[1] :]

    @contextmanager
    def _entered(self) -> Iterator[Any]:
        """The model as TRL generates with it, in evaluation mode."""
        theirs = self.theirs
        whole = theirs.model_wrapped
        root = FSDP.summon_full_params(whole, recurse=False) if isinstance(whole, FSDP) else nullcontext()
        gathers = theirs.args.ds3_gather_for_generation
        with unwrap_model_for_generation(whole, theirs.accelerator, gather_deepspeed3_params=gathers) as model, root:
            was = model.training
            model.eval()
            try:
                yield model
            finally:
                model.train(was)

    def _completion(self, ids_T: Tensor, sampling: Sampling) -> Completion:
        ids = ids_T.tolist()
        ends = next((at + 1 for at, token in enumerate(ids) if token in self.policy.eos_ids), None)
        ids_C = ids_T[: ends or sampling.max_new_tokens]
        return Completion(ids_C, self.policy.decode(ids_C), ends is None)

    def release(self) -> None:
        """Nothing: the policy is always as it is now."""

    def close(self) -> None:
        """Nothing."""
