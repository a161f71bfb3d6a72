"""What TRL's own vLLM needs on a CPU, which TRL is not made for."""

from __future__ import annotations

from typing import Any

from ssl4rl.core.grpo.sampling.vllm.colocate import forget_prefixes, reload_weights


def hand_over_whole(sampler: Any) -> None:
    """Lets TRL's vLLM on a CPU take all weights of an update at once.

    TRL (1.16) loads them into vLLM's layers one by one; there vLLM (0.32) has packed each layer's weights away and has
    nothing left to load into.
    """

    def sync_weights() -> None:
        weights = [(name, weight.clone()) for name, weight in sampler._iter_named_params()]
        reload_weights(sampler.llm, weights, packed=True)
        forget_prefixes(sampler.llm)

    sampler.sync_weights = sync_weights
