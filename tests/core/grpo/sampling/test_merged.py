"""The adapter merged while sampling: the same model within rounding, the same bits afterwards."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor

from ssl4rl.core.grpo.logps.prefix import inner_model, prompt_positions, unshared_logps
from ssl4rl.core.grpo.sampling import prefill as prefill_module
from ssl4rl.core.grpo.sampling.host import NEWS, News
from ssl4rl.core.grpo.sampling.merged import merged
from ssl4rl.core.grpo.sampling.rollout import decoded_logps
from tests.core.grpo.cases import groups_of, load

Tiny = Callable[[str], Path]
pytestmark = pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.*:FutureWarning")  # PEFT, transformers 5.23


def adapted(folder: Path, dtype: torch.dtype = torch.float32, **options: Any) -> Any:
    """Llama, whose head is tied to its embedding, under an adapter that has learned something."""
    config = LoraConfig(**{"r": 2, "target_modules": "all-linear", "init_lora_weights": False, **options})
    torch.manual_seed(0)
    model = get_peft_model(load("llama", folder), config).eval()
    for weight in model.parameters():
        if not weight.requires_grad:
            weight.data = weight.data.to(dtype)
    return model


def logits(model: Any) -> Tensor:
    with torch.no_grad():
        out: Tensor = model(input_ids=torch.arange(5, 25)[None]).logits
    return out


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_all_bits_come_back(dtype: torch.dtype, tiny: Tiny) -> None:
    model = adapted(tiny("llama"), dtype)
    before, first = {name: x.clone() for name, x in model.state_dict().items()}, logits(model)
    place = model.get_base_model().model.layers[0].self_attn.q_proj.base_layer.weight.data_ptr()
    with merged(model):
        assert model.get_base_model().model.layers[0].self_attn.q_proj.merged
        assert not torch.equal(logits(model), first)
        torch.testing.assert_close(
            logits(model), first, **({"atol": 1e-4, "rtol": 0} if dtype == torch.float32 else {"atol": 1.0, "rtol": 0})
        )
    assert all(torch.equal(x, before[name]) for name, x in model.state_dict().items())
    assert model.get_base_model().model.layers[0].self_attn.q_proj.base_layer.weight.data_ptr() == place
    assert torch.equal(logits(model), first)


def test_all_bits_come_back_after_an_error(tiny: Tiny) -> None:
    model = adapted(tiny("llama"))
    first = logits(model)
    with pytest.raises(KeyError), merged(model):
        raise KeyError
    assert torch.equal(logits(model), first)


@pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings=True`:UserWarning")
def test_a_head_tied_to_the_embedding_stays_apart(tiny: Tiny) -> None:
    """Merged, the adapter of the head would change what tokens are read as."""
    model = adapted(tiny("llama"), target_modules=["lm_head", "q_proj"])
    first = logits(model)
    with merged(model):
        assert not model.get_base_model().lm_head.merged
        torch.testing.assert_close(logits(model), first, atol=1e-4, rtol=0)


def test_a_disabled_adapter_is_not_merged(tiny: Tiny) -> None:
    model = adapted(tiny("llama"))
    with model.disable_adapter():
        first = logits(model)
        with merged(model):
            assert torch.equal(logits(model), first)


def test_without_room_the_adapter_stays_apart(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    from peft.tuners.lora import Linear

    model = adapted(tiny("llama"))
    first, merge, calls = logits(model), Linear.merge, []

    def greedy(self: Any, *given: Any) -> None:
        calls.append(1)
        if len(calls) == 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        merge(self, *given)

    monkeypatch.setattr(Linear, "merge", greedy)
    with pytest.warns(RuntimeWarning, match="no room to merge the adapter"), merged(model):
        assert torch.equal(logits(model), first)


def test_nan_in_padding_poisons_nobody(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys and values of a prompt's padding may be anything, nan too; their weight is 0, and 0 x nan is not."""
    model, groups = load("llama", tiny("llama")).eval(), groups_of("llama", tiny("llama"))
    right = decoded_logps(model, groups)
    emptied = prefill_module._empty_padding

    def poisoned(cache: Any, seen_PL: Tensor) -> None:
        for layer in cache.layers:
            for x in (layer.keys, layer.values):
                x.masked_fill_(~seen_PL[:, None, :, None], torch.nan)
        emptied(cache, seen_PL)

    monkeypatch.setattr(prefill_module, "_empty_padding", poisoned)
    assert torch.equal(decoded_logps(model, groups), right)
    assert torch.equal(decoded_logps(model, groups, static=True).isnan(), torch.zeros_like(right, dtype=torch.bool))


def test_positions_are_worked_out_once_a_prompt(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = "qwen2_5_vl"
    model, groups = load(kind, tiny(kind)).eval(), groups_of(kind, tiny(kind))
    inner, calls = inner_model(model), []
    find = type(inner.base_model).get_rope_index

    @functools.wraps(find)
    def counted(*given: Any, **named: Any) -> Any:
        calls.append(1)
        return find(*given, **named)

    monkeypatch.setattr(type(inner.base_model), "get_rope_index", counted)
    first = [prompt_positions(inner, g.prompt_ids, g.media) for g in groups]
    assert len(calls) == 2, "two of the three prompts show pictures"
    decoded_logps(model, groups)
    assert len(calls) == 2
    again = prompt_positions(inner, groups[0].prompt_ids.clone(), groups[0].media)
    assert len(calls) == 3, "another tensor is another prompt"
    assert torch.equal(again, first[0])
    other = load(kind, tiny(kind)).eval()
    prompt_positions(inner_model(other), groups[0].prompt_ids, groups[0].media)
    assert len(calls) == 4, "so is another model's"
    unshared_logps(model, groups)


def test_news_on_a_cpu_are_fresh() -> None:
    news = News(torch.device("cpu"))
    assert NEWS == 8
    assert [news.all_ended(t, torch.tensor(alive)) for t, alive in enumerate(([True, False], [False, False]))] == [
        False,
        True,
    ]
