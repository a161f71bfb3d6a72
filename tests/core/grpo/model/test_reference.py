"""Where and how the reference policy is kept."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ssl4rl.core.grpo.model.policy import load_policy
from ssl4rl.core.grpo.model.reference import Reference
from tests.core.grpo.runs import metrics, recipe, run
from tests.tiny_models import build


@pytest.mark.parametrize("dtype", [None, torch.bfloat16], ids=str)
def test_it_is_swapped_in_and_out(dtype: torch.dtype | None, tmp_path: Path) -> None:
    build("llama", tmp_path)
    policy = load_policy(str(tmp_path), device="cpu")
    first = {name: p.detach().clone() for name, p in policy.model.named_parameters()}
    reference = Reference(policy, dtype=dtype, on_cpu=True)
    with torch.no_grad():
        for p in policy.model.parameters():
            p += 0.1
    moved = {name: p.detach().clone() for name, p in policy.model.named_parameters()}
    with reference.active(policy):
        for name, p in policy.model.named_parameters():
            assert p.dtype == torch.float32
            assert torch.equal(p, first[name] if dtype is None else first[name].bfloat16().float())
    assert all(torch.equal(p, moved[name]) for name, p in policy.model.named_parameters())
    assert {kept.dtype for kept in reference.state().values()} == {dtype or torch.float32}


def test_a_run_keeps_it_in_half_precision_on_the_cpu(tmp_path: Path) -> None:
    given = {"grpo": {"group_size": 3, "prompts_per_step": 2, "beta": 0.1}, "train": {"steps": 2}}
    run(recipe(tmp_path, model={"reference": {"dtype": "bfloat16", "device": "cpu"}}, **given))
    first, second = (line["kl"] for line in metrics(tmp_path / "run") if line["phase"] == "train")
    assert 0 <= first < 1e-3, "the policy is its reference but for rounding"
    assert second > 0
