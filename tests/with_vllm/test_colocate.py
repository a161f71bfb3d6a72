"""vLLM in the process of training: the policy's log-probs, before and after an update, by the recipe key alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ssl4rl.core.types import Ssl4rlError
from tests.with_vllm.cases import TWO_PICTURES, differences, opened, sampled

pytestmark = pytest.mark.vllm

Tiny = Callable[[str], Path]
LORA = {"r": 4, "alpha": 8}


@pytest.mark.parametrize(
    ("kind", "sections"),
    [
        ("llama", {"text": True}),
        ("llama", {"text": True, "model": {"lora": LORA}}),
        ("llama", {"text": True, "model": {"lora": LORA}, "vllm": {"lora": "adapter"}}),
        ("idefics3", {}),
        ("qwen2_5_vl", {"tasks": TWO_PICTURES}),
    ],
    ids=["llama", "llama-lora", "llama-adapter", "idefics3", "qwen2_5_vl"],
)
def test_log_probs_are_the_policys_also_after_an_update(
    tiny: Tiny, tmp_path: Path, closed: Callable[[Any], Any], kind: str, sections: dict[str, Any]
) -> None:
    warm = {"steps": 1, "lr": 0.01}
    trainer = opened(tmp_path, tiny(kind), warmup=warm, grpo={"beta": 0.01}, **sections)
    closed(trainer.backend)
    before = sampled(trainer)
    assert differences(trainer, before).max() < 1e-4
    assert len({c.text for row in before.completions for c in row}) > 6
    trainer.run_step()
    assert trainer.step == 1
    assert differences(trainer, before).max() > 1e-2  # the update moved the policy
    after = sampled(trainer)
    assert differences(trainer, after).max() < 1e-4
    banned = set(trainer.policy.banned_ids)
    assert all(banned.isdisjoint(c.ids.tolist()) for row in after.completions for c in row)
    metrics, _ = trainer.run_step()
    assert metrics["importance"]["capped"] == 0
    assert metrics["importance"]["mean"] == pytest.approx(1, abs=1e-4)
    assert metrics["importance"]["largest"] == pytest.approx(1, abs=1e-3)


def test_heads_that_its_kernel_does_not_take_are_refused_before_the_warm_up(tmp_path: Path) -> None:
    with pytest.raises(Ssl4rlError, match=r"vLLM refuses embedded:tiny_vlm: Unsupported CPU .* head_dim=24"):
        opened(tmp_path, "embedded:tiny_vlm", vllm={"max_num_seqs": 8})
