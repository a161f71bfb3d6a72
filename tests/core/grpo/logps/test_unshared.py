"""Log-probs without shared prompts, with logits in chunks from hidden states: the same numbers, less memory."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ssl4rl.core.grpo.logps import head
from ssl4rl.core.grpo.logps.prefix import Group, unshared_logps
from ssl4rl.core.grpo.logps.structure import bare_head
from ssl4rl.tools.plan.ledger import Ledger
from tests.core.grpo.cases import differences, gradients, groups_of, load
from tests.tiny_models import build


@pytest.mark.parametrize("kind", ["llama", "qwen2_5_vl", "idefics3", "mistral_window", "bloom", "mamba", "gemma3"])
def test_chunks_of_logits_change_nothing(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build(kind, tmp_path)
    model = load(kind, tmp_path, dtype=torch.float64).train()
    groups = groups_of(kind, tmp_path, ((0, "Which of the four?", (3, 12, 3)), (0, "Hi", (5, 5))))
    assert bare_head(model)
    whole = gradients(model, lambda: unshared_logps(model, groups))
    monkeypatch.setattr(head, "LOGITS", 2 * model.get_output_embeddings().weight.shape[0])
    parts = gradients(model, lambda: unshared_logps(model, groups, chunked=True))
    logp, gradient = differences(whole, parts)
    assert logp < 1e-6  # log-probs are float32 or wider
    assert gradient < 1e-5


@pytest.mark.parametrize("kind", ["gemma2"])
def test_a_capped_head_is_left_to_the_model(kind: str, tmp_path: Path) -> None:
    build(kind, tmp_path)
    assert not bare_head(load(kind, tmp_path))


def test_logits_are_not_kept_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build("llama", tmp_path)
    model = load("llama", tmp_path)
    ids = torch.arange(5, 105)
    groups = [Group(ids[:3], {}, [ids, ids.flip(0), ids.roll(7)])]
    monkeypatch.setattr(head, "LOGITS", 10 * model.get_output_embeddings().weight.shape[0])

    def most(chunked: bool) -> int:
        ledger = Ledger()
        ledger.vocabulary = model.get_output_embeddings().weight.shape[0]
        with ledger:
            torch.autograd.backward(unshared_logps(model, groups, chunked=chunked).logp_PGT.sum())
        model.zero_grad()
        return ledger.peak.get("logits", 0)

    # 300 tokens of 364 float32 logits, and their log-softmax: 874 KB; in chunks of ten rows about 90
    assert most(False) > 800_000
    assert most(True) < 100_000
