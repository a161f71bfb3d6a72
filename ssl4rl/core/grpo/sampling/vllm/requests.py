"""Prompts and random numbers in vLLM's words, and its answers in ours; the same in this process and on a server."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from ssl4rl.core.grpo.logps.features import shows
from ssl4rl.core.grpo.logps.prefix import inner_model, prompt_positions
from ssl4rl.core.grpo.model.policy import Encoded, Policy
from ssl4rl.core.grpo.sampling.rollout import Completion, Uniforms
from ssl4rl.core.grpo.sampling.sampler import Sampling
from ssl4rl.core.types import Ssl4rlError

_BAN = -100.0  # the lowest logit bias that vLLM takes


def logprobs_mode(temperature: float) -> str:
    """Which log-probs vLLM is to give: those of training are of softmax(logits / temperature).

    Raw ones are of softmax(logits), before bans and filters, as training's. vLLM has them with the temperature only
    together with bans and filters ("processed").
    """
    return "raw_logprobs" if temperature == 1 else "processed_logprobs"


def settings(policy: Policy, sampling: Sampling, n: int, seed: int | None) -> dict[str, Any]:
    """The arguments of vLLM's SamplingParams, which its server knows by the same names."""
    return {
        "n": n,
        "seed": seed,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "min_p": sampling.min_p,
        "repetition_penalty": 1.0,  # else a server takes the model's own default
        "max_tokens": sampling.max_new_tokens,
        "stop_token_ids": list(policy.eos_ids),
        "logit_bias": dict.fromkeys(policy.banned_ids, _BAN),
    }


def seed_of(uniforms: Callable[[int, int], Uniforms] | None, prompt: int, sampling: Sampling) -> int | None:
    """The seed of a prompt's first sample, out of its keyed random numbers; sample g's is that plus g (vLLM's rule)."""
    if sampling.temperature == 0:
        return None
    assert uniforms is not None, "sampling needs random numbers"
    return int(uniforms(prompt, 0)[0] * 2**53)


def check_prompt(prompt: Encoded, theirs: Sequence[int], policy: Policy) -> None:
    """Whether vLLM's processor made the prompt ids that ours did.

    Raises:
        Ssl4rlError: it did not; the update would train on a prompt that was never sampled from.
    """
    ours = prompt.prompt_ids.tolist()
    if list(theirs) != ours:
        at = next(
            (i for i, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), min(len(ours), len(theirs))
        )
        raise Ssl4rlError(
            f"{policy.name}: vLLM's processor made another prompt of it than ours ({len(theirs)} tokens, ours "
            f"{len(ours)}; the first difference is at token {at}), so nothing can be trained on its replies"
        )


def check_positions(prompt: Encoded, policy: Policy) -> None:
    """Whether vLLM counts positions behind a clip as the model here does: on from the largest one before.

    Under M-RoPE a clip's frames lie some positions apart in time. transformers' Qwen2-VL and Qwen2.5-VL go on from its
    sides instead (5.19 to 5.23), and where it lasts longer than it is wide the two disagree.

    Raises:
        Ssl4rlError: they disagree; vLLM would sample from a prompt that is not the one trained on.
    """
    if "video" not in shows(prompt.media):
        return
    position_AL = prompt_positions(inner_model(policy.model), prompt.prompt_ids, prompt.media)
    largest_L = position_AL.amax(0).cummax(0).values
    text_L = prompt.media["mm_token_type_ids"].reshape(-1).to(largest_L.device) == 0
    if bool((text_L[1:] & (position_AL[0, 1:] != largest_L[:-1] + 1)).any()):
        raise Ssl4rlError(
            f"{policy.name}: vLLM would count positions behind this clip from its last frame, transformers counts them "
            "from its sides; show fewer frames, or larger ones (frame_px), or set sampling.backend=native"
        )


def completions(
    policy: Policy, answers: Sequence[tuple[Sequence[int], Sequence[float]]], known: dict[tuple[int, ...], Completion]
) -> list[Completion]:
    """A prompt's answers (token ids and their log-probs); those with the same tokens are one object.

    Raises:
        Ssl4rlError: vLLM sampled a placeholder although it was told not to.
    """
    banned, made = set(policy.banned_ids), []
    for ids, logps in answers:
        key = tuple(ids)
        if key not in known:
            if not banned.isdisjoint(key):
                raise Ssl4rlError(f"{policy.name}: vLLM sampled a placeholder token ({(banned & set(key)).pop()})")
            tensor = torch.tensor(key, dtype=torch.long)
            known[key] = Completion(
                tensor, policy.decode(tensor), key[-1] not in policy.eos_ids, torch.tensor(list(logps))
            )
        made.append(known[key])
    return made
