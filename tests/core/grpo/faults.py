"""Faults that packed rows and their decoder could have, seeded one at a time: each a change of one place of ours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from ssl4rl.core.grpo.logps import attention
from ssl4rl.core.grpo.logps import prefix as prefix_module
from ssl4rl.core.grpo.logps.layout import Layout, layout
from ssl4rl.core.grpo.sampling.cascade import Cascade

Seed = Callable[[pytest.MonkeyPatch], None]


def _positions(change: Callable[[Tensor, Sequence[Any]], Tensor]) -> Seed:
    """Changes the branches' positions [A, N]."""
    right = prefix_module._row_positions

    def wrong(inner: Any, groups: Any) -> Tensor:
        position = right(inner, groups)
        prompts = sum(len(group.prompt_ids) - 1 for group in groups)
        lengths = [len(ids) for group in groups for ids in group.distinct[0]]
        return torch.cat([position[..., :prompts], change(position[..., prompts:], lengths)], dim=-1)

    return lambda patch: patch.setattr(prefix_module, "_row_positions", wrong)


def _running_on(position: Tensor, lengths: Sequence[int]) -> Tensor:
    """Each branch goes on from the one before it instead of from its prompt."""
    before = [sum(lengths[:i]) for i in range(len(lengths))]
    return position + torch.tensor(before).repeat_interleave(torch.tensor(lengths))


def _a_branch_sees_another(patch: pytest.MonkeyPatch) -> None:
    def leaking(prompts: Any, branches: Any, device: Any) -> Layout:
        return layout(prompts, [[b[0] + b[1], *b[2:]] for b in branches], device)

    patch.setattr(prefix_module, "layout", leaking)


def _branches_swapped(patch: pytest.MonkeyPatch) -> None:
    """The first two of equal length keep their labels and get each other's tokens."""
    right = prefix_module._row_ids

    def wrong(groups: Any, plan: Any) -> Tensor:
        first, *others = groups
        turned = replace(first, completion_ids=[*first.completion_ids[1:], first.completion_ids[0]])
        return right([turned, *others], plan)

    patch.setattr(prefix_module, "_row_ids", wrong)


def _wrong_last_prompt_token(patch: pytest.MonkeyPatch) -> None:
    right = prefix_module._row_ids

    def wrong(groups: Any, plan: Any) -> Tensor:
        ids_S = right(groups, plan).clone()
        at = plan.prompt_tokens
        for group in groups:
            for ids in group.distinct[0]:
                ids_S[at] = group.prompt_ids[0]
                at += len(ids)
        return ids_S

    patch.setattr(prefix_module, "_row_ids", wrong)


def _pictures_swapped(patch: pytest.MonkeyPatch) -> None:
    """The first prompt's two pictures change places."""
    right = prefix_module._features

    def wrong(inner: Any, groups: Any) -> Any:
        first, *others = right(inner, groups)
        return [{"image": replace(first["image"], pooled=first["image"].pooled[::-1])}, *others]

    def shared_only(inner: Any, groups: Any, features: Any, **more: Any) -> Any:
        return row_logps(inner, groups, wrong(inner, groups), **more)

    row_logps = prefix_module._row_logps
    patch.setattr(prefix_module, "_row_logps", shared_only)


def _scaling_dropped(patch: pytest.MonkeyPatch) -> None:
    right = attention.merged_attention
    copying = attention.concatenated_attention
    patch.setattr(attention, "merged_attention", lambda q, k, v, plan, scale: right(q, k, v, plan, 1.0))
    patch.setattr(attention, "concatenated_attention", lambda q, k, v, plan, scale: copying(q, k, v, plan, 1.0))


def _no_gradient_into_prompts(patch: pytest.MonkeyPatch) -> None:
    """Log-probs are right; what completions ask of their prompt's keys and values is lost."""

    def cut(right: Any) -> Any:
        def wrong(q: Tensor, k: Tensor, v: Tensor, plan: Layout, scale: float) -> Tensor:
            n = plan.prompt_tokens
            k, v = (torch.cat([x[:, :, :n].detach(), x[:, :, n:]], 2) for x in (k, v))
            out: Tensor = right(q, k, v, plan, scale)
            return out

        return wrong

    for name in ("merged_attention", "concatenated_attention"):
        patch.setattr(attention, name, cut(getattr(attention, name)))


def _stale_row(patch: pytest.MonkeyPatch) -> None:
    """From the second token on a row keeps the keys and values of the token before."""
    right = Cascade.update

    def wrong(self: Cascade, key: Tensor, value: Tensor, *more: Any) -> Any:
        keys, values = right(self, key, value, *more)
        t = self._tokens
        if t:
            keys[1, :, t], values[1, :, t] = keys[1, :, t - 1], values[1, :, t - 1]
        return keys, values

    patch.setattr(Cascade, "update", wrong)


def _padding_seen(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Cascade, "_hide", lambda self, scores, prompt_tokens: None)


def _decoder_one_behind(patch: pytest.MonkeyPatch) -> None:
    right = Cascade.step
    patch.setattr(
        Cascade, "step", lambda self, model, token_R, position_AR: right(self, model, token_R, position_AR - 1)
    )


FAULTS: dict[str, Seed] = {
    "a position shifted by one": _positions(lambda position, lengths: position + 1),
    "positions run on": _positions(_running_on),
    "a branch sees another": _a_branch_sees_another,
    "branches swapped": _branches_swapped,
    "a wrong last prompt token": _wrong_last_prompt_token,
    "a dropped scaling": _scaling_dropped,
    "no gradient into prompts": _no_gradient_into_prompts,
    "a stale row of the cache": _stale_row,
    "padding is seen": _padding_seen,
    "the decoder is one position behind": _decoder_one_behind,
}
"""Ten that every model can have."""

PICTURES = {"a prompt's pictures swapped": _pictures_swapped}
