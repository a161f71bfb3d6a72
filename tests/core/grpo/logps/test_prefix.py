"""Shared prefix against the unshared twin, the model's plain forward and TRL; wrong variants must show."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from ssl4rl.core.grpo.logps import attention as attention_module
from ssl4rl.core.grpo.logps import flexible
from ssl4rl.core.grpo.logps import prefix as prefix_module
from ssl4rl.core.grpo.logps.layout import Layout, layout
from ssl4rl.core.grpo.logps.prefix import (
    Group,
    fixed_features,
    has_dropout,
    image_features,
    shared_logps,
    unshared_logps,
)
from tests.core.grpo.cases import differences, gradients, groups_of, load, plain_logps, score
from tests.tiny_models import SHAREABLE_TEXT, SHAREABLE_VISION

TOLERANCE = 1e-4
SHAREABLE = SHAREABLE_VISION + SHAREABLE_TEXT
MAIN = ("qwen2_5_vl", "qwen3_vl", "idefics3", "qwen2", "llama")

# PEFT and older transformers know gradient checkpointing by a name that 5.23 is leaving.
pytestmark = pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.*:FutureWarning")

Tiny = Callable[[str], Path]


def agree(left: Any, right: Any) -> bool:
    logp, gradient = differences(left, right)
    return logp <= TOLERANCE and gradient <= TOLERANCE


@pytest.mark.parametrize("kind", SHAREABLE)
def test_shared_equals_unshared_and_plain(kind: str, tiny: Tiny) -> None:
    model, groups = load(kind, tiny(kind)), groups_of(kind, tiny(kind))
    plain = gradients(model, lambda: plain_logps(model, groups))
    unshared = gradients(model, lambda: unshared_logps(model, groups))
    shared = gradients(model, lambda: shared_logps(model, groups))
    assert plain[0].abs().max() > 1, "log-probs too flat to mean anything"
    assert agree(unshared, plain)
    assert agree(shared, plain)
    assert agree(shared, unshared)


@pytest.mark.parametrize("kind", MAIN)
def test_shared_equals_trl(kind: str, tiny: Tiny) -> None:
    model, groups = load(kind, tiny(kind)), groups_of(kind, tiny(kind))
    temperature = 0.8
    shared = gradients(model, lambda: shared_logps(model, groups, temperature=temperature))
    assert agree(shared, gradients(model, lambda: trl_logps(model, groups, temperature)))


def trl_logps(model: Any, groups: list[Group], temperature: float) -> Tensor:
    """[P, G, T] by TRL's own rows: prompt padded left, completion right, images repeated for each completion."""
    from trl.trainer.grpo_trainer import GRPOTrainer
    from trl.trainer.utils import add_fused_lm_head

    add_fused_lm_head(model, temperature=temperature)
    trainer = SimpleNamespace(accelerator=SimpleNamespace(autocast=nullcontext))
    mask_PGT = prefix_module._padded(
        groups, torch.zeros(sum(len(c) for g in groups for c in g.completion_ids)), None
    ).mask_PGT
    logp_PGT = torch.zeros(mask_PGT.shape)
    left = 3  # columns of padding before each prompt
    for p, group in enumerate(groups):
        G, L, T = len(group.completion_ids), len(group.prompt_ids), mask_PGT.shape[2]
        ids = torch.zeros(G, left + L + T, dtype=torch.long)
        seen = torch.zeros_like(ids)
        for g, completion in enumerate(group.completion_ids):
            ids[g, left : left + L + len(completion)] = torch.cat([group.prompt_ids, completion])
            seen[g, left : left + L + len(completion)] = 1
        media: dict[str, Any] = {name: torch.cat([value] * G) for name, value in group.media.items()}
        if "mm_token_type_ids" in media:
            media["mm_token_type_ids"] = torch.nn.functional.pad(media["mm_token_type_ids"], (left, T))
        if "image_grid_thw" in media:
            media["num_images"] = [len(group.media["image_grid_thw"])] * G
        elif "pixel_values" in media:
            media["num_images"] = [group.media["pixel_values"].shape[1]] * G
        logp_GT, _, _ = GRPOTrainer._get_per_token_logps_and_entropies.__wrapped__(
            trainer, model, ids, seen, T, **media
        )
        logp_PGT = logp_PGT.index_put((torch.tensor(p), torch.arange(G)), logp_GT)
    return logp_PGT * mask_PGT


def test_result_is_padded_and_masked(tiny: Tiny) -> None:
    model, groups = load("llama", tiny("llama")), groups_of("llama", tiny("llama"))
    for logps in (shared_logps, unshared_logps):
        result = logps(model, groups, entropy=True)
        assert result.logp_PGT.shape == (3, 3, 24)
        assert result.mask_PGT.sum(-1).tolist() == [[1, 7, 24], [5, 5, 5], [3, 12, 0]]
        assert result.entropy_PGT is not None
        assert (result.logp_PGT != 0).equal(result.mask_PGT)
        assert (result.entropy_PGT != 0).equal(result.mask_PGT)
        assert logps(model, groups).entropy_PGT is None


def test_entropies_and_temperature(tiny: Tiny) -> None:
    model, groups = load("qwen2_5_vl", tiny("qwen2_5_vl")), groups_of("qwen2_5_vl", tiny("qwen2_5_vl"))
    results = [f(model, groups, temperature=0.6, entropy=True) for f in (shared_logps, unshared_logps)]
    assert (results[0].logp_PGT - plain_logps(model, groups, 0.6)).abs().max() <= TOLERANCE
    entropies = [result.entropy_PGT for result in results]
    found = []
    for entropy_PGT in entropies:
        assert entropy_PGT is not None
        model.zero_grad()
        torch.autograd.backward(score(entropy_PGT), retain_graph=True)
        found.append(
            (entropy_PGT.detach(), {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None})
        )
    assert agree(*found)
    group, ids = groups[1], groups[1].completion_ids[0]
    logits = model(input_ids=torch.cat([group.prompt_ids, ids])[None]).logits[0, len(group.prompt_ids) - 1 : -1]
    expected = torch.special.entr((logits / 0.6).softmax(-1)).sum(-1)
    torch.testing.assert_close(found[0][0][1, 0, :5], expected.detach(), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", ["qwen2_5_vl", "idefics3", "llama"])
def test_lora(kind: str, tiny: Tiny) -> None:
    torch.manual_seed(0)
    targets = ["q_proj", "v_proj", "down_proj"] + ["lm_head"] * (kind != "llama")  # llama's is tied to the embedding
    config = LoraConfig(r=4, target_modules=targets, init_lora_weights=False)
    model, groups = get_peft_model(load(kind, tiny(kind)), config), groups_of(kind, tiny(kind))
    with torch.no_grad():
        adapted = shared_logps(model.get_base_model(), groups).logp_PGT
    unshared = gradients(model, lambda: unshared_logps(model, groups))
    shared = gradients(model, lambda: shared_logps(model, groups))
    assert all("lora" in name for name in shared[1])
    assert agree(shared, unshared)
    assert agree(shared, gradients(model, lambda: plain_logps(model.get_base_model(), groups)))
    with torch.no_grad(), model.disable_adapter():
        reference = shared_logps(model, groups).logp_PGT
        assert (reference - plain_logps(model.get_base_model(), groups)).abs().max() <= TOLERANCE
    assert (reference - adapted).abs().max() > 0.1, "the adapter changes nothing; the comparison would be empty"


@pytest.mark.parametrize("lora", [False, True])
@pytest.mark.parametrize("kind", ["qwen2_5_vl", "qwen3_vl", "idefics3", "llama"])
def test_gradient_checkpointing(kind: str, lora: bool, tiny: Tiny) -> None:
    torch.manual_seed(0)
    model: Any = load(kind, tiny(kind)).train()
    groups = groups_of(kind, tiny(kind))
    if lora:
        model.enable_input_require_grads()
        model = get_peft_model(model, LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False))
    plain = gradients(model, lambda: shared_logps(model, groups))
    calls = count_calls(model)
    model.gradient_checkpointing_enable({"use_reentrant": False})
    assert agree(gradients(model, lambda: shared_logps(model, groups)), plain)
    assert calls[0] == 2 * model.config.get_text_config().num_hidden_layers, "the layers were not computed again"


@pytest.mark.parametrize("kind", ["qwen2_5_vl", "llama"])
def test_a_rows_block_mask_is_made_once(kind: str, tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """For all layers, and for their second run under gradient checkpointing; the mask itself is read on a GPU only."""
    made, read, make = [], [], flexible.block_mask

    def counted(plan: Layout, device: torch.device) -> Any:
        made.append(plan)
        return make(plan, device)

    def on_a_gpu(*inputs: Any) -> torch.Tensor:
        plan = inputs[3]
        read.append(flexible.row_mask(plan, torch.device("cpu")))
        return attention_module.concatenated_attention(*inputs)

    monkeypatch.setattr(flexible, "block_mask", counted)
    monkeypatch.setattr(attention_module, "merged_attention", on_a_gpu)
    model: Any = load(kind, tiny(kind)).train()
    groups = groups_of(kind, tiny(kind))
    model.gradient_checkpointing_enable({"use_reentrant": False})
    gradients(model, lambda: shared_logps(model, groups, row_tokens=1))
    assert len(made) == len(groups)
    assert len(read) == 2 * len(groups) * model.config.get_text_config().num_hidden_layers


@pytest.mark.usefixtures("flexible_with_gradients")
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")  # dynamo looks at it
@pytest.mark.parametrize("kind", ["qwen2_5_vl", "idefics3", "llama"])
def test_flexible_attention_trains_a_whole_model(kind: str, tiny: Tiny) -> None:
    """Under gradient checkpointing; with an adapter on queries alone too, so that keys come without gradient."""
    groups = groups_of(kind, tiny(kind))
    adapted = get_peft_model(
        load(kind, tiny(kind)), LoraConfig(r=4, target_modules=["q_proj"], init_lora_weights=False)
    )
    models: list[Any] = [load(kind, tiny(kind)), adapted]
    for model in models:
        slow = gradients(model, lambda: unshared_logps(model, groups))  # noqa: B023
        model.train().gradient_checkpointing_enable({"use_reentrant": False})
        for row_tokens in (1, 10_000):
            fast = gradients(model, lambda: shared_logps(model, groups, row_tokens=row_tokens))  # noqa: B023
            assert agree(fast, slow)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method:DeprecationWarning")  # torch 2.13's own
@pytest.mark.parametrize("low", [False, True], ids=["float32", "autocast"])
@pytest.mark.parametrize("kind", ["qwen2_5_vl", "idefics3", "llama"])
def test_compiled_flexible_attention_in_a_whole_model(
    kind: str, low: bool, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a GPU's forward pass does, compiled for the CPU: log-probs without gradient, also in bfloat16."""
    torch._dynamo.reset()
    monkeypatch.setattr(flexible, "_ready", lambda device: flexible.compiled())
    monkeypatch.setattr(attention_module, "merged_attention", flexible.flexible_attention)
    model, groups = load(kind, tiny(kind)).eval(), groups_of(kind, tiny(kind))
    with torch.no_grad():
        exact = unshared_logps(model, groups)
        with torch.autocast("cpu", torch.bfloat16, enabled=low):
            usual = unshared_logps(model, groups)
            for row_tokens in (1, 10_000):
                ours = shared_logps(model, groups, row_tokens=row_tokens)
                off, rounding = (
                    float((x.logp_PGT - exact.logp_PGT)[exact.mask_PGT].abs().mean()) for x in (ours, usual)
                )
                assert off < (1.5 * rounding if low else 1e-5)


def count_calls(model: Any) -> list[int]:
    """How often a text layer's attention output projection runs."""
    calls = [0]

    def count(*_: Any) -> None:
        calls[0] += 1

    for name, module in model.named_modules():
        if name.endswith("self_attn.o_proj"):
            module.register_forward_hook(count)
    return calls


@pytest.mark.parametrize("kind", ["qwen2_5_vl", "qwen3_vl", "idefics3", "llava", "internvl"])
def test_frozen_tower_features_are_reused(kind: str, tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    model, groups = load(kind, tiny(kind)), groups_of(kind, tiny(kind))
    for name, weight in model.named_parameters():
        weight.requires_grad_("language_model" in name or "text_model" in name or "lm_head" in name)
    plain = gradients(model, lambda: plain_logps(model, groups))
    features = image_features(model, groups)
    assert [one is None for one in features] == [False, True, False]
    monkeypatch.setattr(model.base_model, "get_image_features", None)  # nobody may run the tower from here on
    assert agree(gradients(model, lambda: shared_logps(model, groups, image_features=features)), plain)
    assert agree(gradients(model, lambda: unshared_logps(model, groups, image_features=features)), plain)
    picked = shared_logps(model, groups[2:], image_features=features[2:]).logp_PGT
    assert (picked[0, :2, :12] - plain[0][2, :2, :12]).abs().max() <= TOLERANCE


@pytest.mark.parametrize("kind", ["qwen2_5_vl", "idefics3", "llama"])
def test_equal_completions_are_computed_once(kind: str, tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    model, groups = load(kind, tiny(kind)), groups_of(kind, tiny(kind))
    ragged = [[0, 1, 0, 2, 1], [1, 1, 1], [0, 0, 1, 0]]  # of 1, 7, 24; of 5, 5, 5; of 3, 12 tokens
    repeated = [
        replace(group, completion_ids=[group.completion_ids[g].clone() for g in order])
        for group, order in zip(groups, ragged, strict=True)
    ]
    plain = gradients(model, lambda: plain_logps(model, repeated))
    assert plain[0].shape == (3, 5, 24)
    for logps in (shared_logps, unshared_logps):
        once = gradients(model, lambda logps=logps: logps(model, repeated))
        assert agree(once, plain)
        assert once[0][0, 0].equal(once[0][0, 2])
        twin = [replace(group, apart=True) for group in repeated]
        assert agree(gradients(model, lambda logps=logps, twin=twin: logps(model, twin)), plain)
    lengths = [len(group.prompt_ids) - 1 for group in groups]
    assert [group.tokens for group in repeated] == [lengths[0] + 32, lengths[1] + 5, lengths[2] + 15]
    assert [replace(g, apart=True).tokens for g in repeated] == [lengths[0] + 40, lengths[1] + 15, lengths[2] + 21]
    assert [len(group.distinct[0]) for group in repeated] == [3, 1, 2]
    assert [group.distinct[1] for group in repeated] == [[0, 1, 0, 2, 1], [0, 0, 0], [0, 0, 1, 0]]
    seen = count_tokens(model)
    shared_logps(model, repeated)
    assert seen == [sum(lengths) + 32 + 5 + 15]


def count_tokens(model: Any) -> list[int]:
    """The tokens of each forward pass through the text model's first layer."""
    seen: list[int] = []
    name = next(name for name, _ in model.named_modules() if name.endswith("self_attn.o_proj"))
    model.get_submodule(name).register_forward_hook(lambda module, args, out: seen.append(args[0].shape[1]))
    return seen


def test_dropout_keeps_equal_completions_apart(tiny: Tiny) -> None:
    """Each draws its own noise, and is as likely on average."""
    torch.manual_seed(0)
    config = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False, lora_dropout=0.3)
    plain, group = load("llama", tiny("llama")), groups_of("llama", tiny("llama"))[1]
    assert not has_dropout(plain)
    model = get_peft_model(plain, config).train()
    assert has_dropout(model)
    twice = replace(group, completion_ids=[group.completion_ids[0]] * 2, apart=True)
    for logps in (shared_logps, unshared_logps):
        first, second = logps(model, [twice]).logp_PGT[0]
        assert (first - second).abs().max() > 1e-3


def test_features_are_fixed_where_nothing_before_the_text_trains(tiny: Tiny) -> None:
    model: Any = load("qwen2_5_vl", tiny("qwen2_5_vl"))
    assert not fixed_features(model)
    model.base_model.visual.requires_grad_(False)
    assert fixed_features(model)
    next(model.base_model.visual.merger.parameters()).requires_grad_(True)
    assert not fixed_features(model)
    assert not fixed_features(load("llama", tiny("llama")).requires_grad_(False))  # it has none
    lora: Any = load("idefics3", tiny("idefics3"))
    everywhere = get_peft_model(lora, LoraConfig(r=2, target_modules="all-linear"))
    assert not fixed_features(everywhere)
    text = get_peft_model(load("idefics3", tiny("idefics3")), LoraConfig(r=2, target_modules=r".*text_model.*q_proj"))
    assert fixed_features(text)


def test_tower_runs_once_a_prompt(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    model, groups = load("qwen2_5_vl", tiny("qwen2_5_vl")), groups_of("qwen2_5_vl", tiny("qwen2_5_vl"))
    rows = []
    model.base_model.visual.register_forward_pre_hook(lambda module, args: rows.append(len(args[0])))
    for logps in (shared_logps, unshared_logps):
        logps(model, groups)
        assert rows == [len(groups[0].media["pixel_values"]), len(groups[2].media["pixel_values"])]
        rows.clear()


def test_unshared_without_feature_reuse(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    model, groups = load("qwen2_5_vl", tiny("qwen2_5_vl")), groups_of("qwen2_5_vl", tiny("qwen2_5_vl"))
    reused = gradients(model, lambda: unshared_logps(model, groups))
    monkeypatch.setattr(prefix_module, "takes_features", lambda inner: False)
    assert agree(gradients(model, lambda: unshared_logps(model, groups)), reused)


@pytest.mark.parametrize("row_tokens", [1, 100])
def test_row_budget_changes_nothing(row_tokens: int, tiny: Tiny) -> None:
    model, groups = load("qwen2_5_vl", tiny("qwen2_5_vl")), groups_of("qwen2_5_vl", tiny("qwen2_5_vl"))
    one_row = gradients(model, lambda: shared_logps(model, groups))
    assert agree(gradients(model, lambda: shared_logps(model, groups, row_tokens=row_tokens)), one_row)


def test_rows_fill_the_budget() -> None:
    groups = [
        Group(torch.ones(n + 1, dtype=torch.long), {}, [torch.ones(10, dtype=torch.long)]) for n in (10, 20, 90, 5, 5)
    ]
    rows = [(row.start, row.stop) for row in prefix_module.rows_of(groups, 50)]
    assert rows == [(0, 2), (2, 3), (3, 5)]


def test_prompt_of_one_token(tiny: Tiny) -> None:
    model = load("qwen2", tiny("qwen2"))
    ids = torch.arange(5, 12)
    groups = [Group(ids[:1], {}, [ids[1:3], ids[3:]]), Group(ids[:3], {}, [ids[4:]])]
    assert agree(
        gradients(model, lambda: shared_logps(model, groups)), gradients(model, lambda: plain_logps(model, groups))
    )


def test_autocast_bfloat16(tiny: Tiny) -> None:
    model, groups = load("qwen2_5_vl", tiny("qwen2_5_vl")), groups_of("qwen2_5_vl", tiny("qwen2_5_vl"))
    exact = gradients(model, lambda: plain_logps(model, groups))
    found = []
    for logps in (unshared_logps, shared_logps):
        with torch.autocast("cpu", torch.bfloat16):
            found.append(gradients(model, partial(logps, model, groups)))
        assert found[-1][0].dtype == torch.float32
    errors = [float((logp - exact[0]).abs().sum()) / int((exact[0] != 0).sum()) for logp, _ in found]
    assert max(errors) < 0.05
    assert errors[1] < 2 * errors[0], "sharing must not cost precision"


def test_bfloat16_weights(tiny: Tiny) -> None:
    model, groups = load("idefics3", tiny("idefics3"), dtype=torch.bfloat16), groups_of("idefics3", tiny("idefics3"))
    exact = plain_logps(load("idefics3", tiny("idefics3")), groups)
    for logps in (unshared_logps, shared_logps):
        result = logps(model, groups).logp_PGT
        assert result.dtype == torch.float32
        assert (result - exact).abs().sum() / result.ne(0).sum() < 0.1


class TestWrongVariantsShow:
    """The same comparison, with a fault put in: it must not agree, or the tests above prove little."""

    @pytest.mark.parametrize("kind", ["qwen2_5_vl", "idefics3", "llama"])
    def test_position_off_by_one(self, kind: str, tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
        right = prefix_module._row_positions

        def wrong(inner: Any, groups: list[Group]) -> Tensor:
            position = right(inner, groups)
            prompts = sum(len(group.prompt_ids) - 1 for group in groups)
            return torch.cat([position[..., :prompts], position[..., prompts:] + 1], dim=-1)

        monkeypatch.setattr(prefix_module, "_row_positions", wrong)
        self.check(kind, tiny)

    @pytest.mark.parametrize("kind", ["qwen2_5_vl", "llama"])
    def test_positions_run_on(self, kind: str, tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
        right = prefix_module._row_positions

        def wrong(inner: Any, groups: list[Group]) -> Tensor:
            position = right(inner, groups)
            return torch.arange(position.shape[-1]).expand(position.shape)

        monkeypatch.setattr(prefix_module, "_row_positions", wrong)
        self.check(kind, tiny)

    @pytest.mark.parametrize("kind", ["qwen2_5_vl", "qwen3_vl"])
    def test_one_axis_for_mrope(self, kind: str, tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(
            prefix_module,
            "prompt_positions",
            lambda inner, prompt_ids, media: torch.arange(len(prompt_ids)).unsqueeze(0),
        )
        self.check(kind, tiny)

    @pytest.mark.parametrize("kind", ["qwen2_5_vl", "qwen3_vl", "idefics3", "llama"])
    def test_leak_between_completions(self, kind: str, tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
        def leaky(prompts: Any, branches: Any, device: torch.device) -> Any:
            plan = layout(prompts, branches, device)
            # A span's branches as one long branch: each sees those before it.
            spans = tuple(
                replace(s, lengths=(s.end - s.start,), gather_GT=None, pad_GT=None, pack_N=None) for s in plan.spans
            )
            return replace(plan, spans=spans)

        monkeypatch.setattr(prefix_module, "layout", leaky)
        self.check(kind, tiny)

    def test_images_of_two_prompts_swapped(self, tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
        right = prefix_module.joined

        def wrong(features: Any) -> Any:
            found = right(features)
            for seen in found.values():
                pooled = seen.pooler_output  # a tensor under transformers 5.19, a list since
                seen.pooler_output = pooled.flip(0) if isinstance(pooled, Tensor) else pooled[::-1]
            return found

        monkeypatch.setattr(prefix_module, "joined", wrong)
        self.check("idefics3", tiny)

    def check(self, kind: str, tiny: Tiny) -> None:
        model, groups = load(kind, tiny(kind)), groups_of(kind, tiny(kind))
        plain = gradients(model, lambda: plain_logps(model, groups))
        logp, gradient = differences(plain, gradients(model, lambda: shared_logps(model, groups)))
        assert logp > 100 * TOLERANCE
        assert gradient > 100 * TOLERANCE


def test_group_says_what_is_wrong() -> None:
    ids = torch.arange(3)
    with pytest.raises(ValueError, match=r"prompt_ids must be \[L\] with L >= 1, got shape \(1, 3\)"):
        Group(ids[None], {}, [ids])
    with pytest.raises(ValueError, match=r"C >= 1, got \[\(3,\), \(0,\)\]"):
        Group(ids, {}, [ids, ids[:0]])


def test_image_placeholder_in_a_completion_is_refused(tiny: Tiny) -> None:
    model, groups = load("qwen2_5_vl", tiny("qwen2_5_vl")), groups_of("qwen2_5_vl", tiny("qwen2_5_vl"))
    bad = replace(groups[0], completion_ids=[torch.tensor([7, model.config.image_token_id, 8])])
    with pytest.raises(ValueError, match="placeholder for images"):
        shared_logps(model, [bad])


def test_wrong_number_of_features(tiny: Tiny) -> None:
    model, groups = load("llama", tiny("llama")), groups_of("llama", tiny("llama"))
    with pytest.raises(ValueError, match="1 entries for 3 groups"):
        shared_logps(model, groups, image_features=[None])


def test_distributed_wrapper_is_refused(tiny: Tiny) -> None:
    wrapped = DistributedDataParallel.__new__(DistributedDataParallel)
    with pytest.raises(ValueError, match=r"\.module"):
        shared_logps(wrapped, groups_of("llama", tiny("llama")))


def test_a_model_that_drops_the_layout_fails_loudly(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    model, groups = load("llama", tiny("llama")), groups_of("llama", tiny("llama"))
    for layer in model.base_model.layers:
        forward = layer.self_attn.forward
        monkeypatch.setattr(
            layer.self_attn, "forward", lambda *a, shared_prefix, forward=forward, **k: forward(*a, **k)
        )
    with pytest.raises(RuntimeError, match="came without its layout"):
        shared_logps(model, groups)
