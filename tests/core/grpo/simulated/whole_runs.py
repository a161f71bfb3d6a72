"""The native engine on a GPU that is not there (`gpu`): device faults, waits in the decoders, what a graph refuses."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from ssl4rl.core.grpo.logps import attention, prefix
from ssl4rl.core.grpo.model.policy import Encoded, autocast, load_policy
from ssl4rl.core.grpo.model.pretrained import Lora
from ssl4rl.core.grpo.preflight import Preflight, preflight
from ssl4rl.core.grpo.run import train
from ssl4rl.core.grpo.sampling import rollout, sharing
from ssl4rl.core.grpo.sampling.backend import Native
from ssl4rl.core.grpo.sampling.cascade import Cascade
from ssl4rl.core.grpo.sampling.sampler import Sampling
from ssl4rl.core.grpo.trl.lent import lent
from ssl4rl.core.recipe.recipe import Recipe
from tests.core.grpo.cases import groups_of
from tests.core.grpo.runs import recipe
from tests.core.grpo.simulated.gpu import SimGpu, SimTensor, simulated

Tiny = Callable[[str], Path]
# What there are; lower them, never raise them.
WAITS_A_TOKEN = {"shared": 1.0, "static": 0.0}
KERNELS_A_TOKEN = {"shared": 144, "static": 153}


def small(out: Path, path: str | Path, lora: bool, text: bool) -> Recipe:
    """One step of everything: warm-up, rehearsal, two updates, KL, checkpointing, an evaluation."""
    model = {
        "device": "cuda",
        "gradient_checkpointing": True,
        "freeze_vision": lora,
        **({"lora": {"r": 2}} if lora else {}),
    }
    return recipe(
        out,
        path,
        text=text,
        model={"path": str(path), **model},
        grpo={"group_size": 3, "prompts_per_step": 2, "updates_per_step": 2, "beta": 0.01},
        prompt={"style": "answer", "max_tokens": 2000},
        warmup={"steps": 1, "rehearsal": 0.1, "prompts_per_step": 2},
        train={"steps": 1, "checkpoint_every": 1, "tokens_per_microbatch": 512},
        eval={"n": 2},
    )


@pytest.mark.parametrize(
    ("kind", "lora"), [("qwen2_5_vl", True), ("llama", False), ("embedded:tiny_vlm", False)], ids=str
)
def test_a_whole_run_stays_on_the_gpu(kind: str, lora: bool, tmp_path: Path, tiny: Tiny) -> None:
    path = kind if ":" in kind else tiny(kind)
    said: list[str] = []
    with simulated() as gpu:
        out = train(small(tmp_path, path, lora, kind == "llama"), said.append, bar=False)
    assert (out["steps"], out["shared_prompts"]) == (1, True), said
    found = out["preflight"]
    assert 0 < found["logp_difference"] < 2 * found["logp_noise"], "bfloat16, judged by noise"
    assert gpu.launches["scaled_dot_product_attention"] > 0
    assert gpu.captures > 0, "CUDA graphs are the default where there is CUDA"
    assert not any("WARNING train.cuda_graphs" in line or "WARNING prompts" in line for line in said), said


@pytest.mark.parametrize("how", WAITS_A_TOKEN)
def test_waits_a_token(how: str, tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """How often a decoding step makes the GPU stand still; in the static form what is recorded never does."""
    tokens, name = 14, "sample" if how == "static" else "sample_of_rows"
    marks: list[tuple[int, int]] = []
    inner = getattr(sharing, name)

    def marked(*given: Any) -> Any:
        marks.append((SimGpu.active.waits.total(), SimGpu.active.launches.total()))
        return inner(*given)

    monkeypatch.setattr(sharing, name, marked)
    uniform = torch.rand(2, 3, tokens, generator=torch.Generator().manual_seed(0), dtype=torch.float64).numpy()
    with simulated() as gpu:
        policy = load_policy(str(tiny("llama")), lora=Lora(r=2), device="cuda")
        policy.eos_ids = [policy.eos_ids[0]]
        prompts = [Encoded(g.prompt_ids, g.media) for g in groups_of("llama", tiny("llama"))[:2]]
        settings = Sampling(max_new_tokens=tokens)
        with autocast(policy):
            rollout.generate(
                policy, prompts, 3, settings, lambda p, g: uniform[p, g], shared=True, static=how == "static"
            )
    assert len(marks) == tokens
    assert gpu.captures == (how == "static")
    waits, kernels = ((marks[-1][i] - marks[4][i]) / (len(marks) - 5) for i in (0, 1))
    assert waits <= WAITS_A_TOKEN[how], gpu.waits
    assert kernels <= KERNELS_A_TOKEN[how]


@pytest.mark.parametrize("how", WAITS_A_TOKEN)
def test_batches_that_go_on_together(how: str, tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is kept of a batch, and what it is joined with, is on the device; nothing but ends and tokens comes back."""
    tokens = 70
    uniform = torch.rand(4, 3, tokens, generator=torch.Generator().manual_seed(0), dtype=torch.float64).numpy()
    found: list[list[list[int]]] = []
    joined: list[Cascade] = []
    join = Cascade.join
    monkeypatch.setattr(Cascade, "join", lambda own, *given: (joined.append(own), join(own, *given)))
    for device in ("cpu", "cuda"):
        with simulated() if device == "cuda" else nullcontext():
            policy = load_policy(str(tiny("llama")), device=device)
            policy.half = False
            policy.eos_ids = [policy.eos_ids[0], *range(5, 12)]
            groups = groups_of("llama", tiny("llama"))[:2] * 2
            prompts = [Encoded(g.prompt_ids, g.media) for g in groups]
            settings, static = Sampling(max_new_tokens=tokens, temperature=1.3), how == "static"
            replies = rollout.generate(
                policy, prompts, 3, settings, lambda p, g: uniform[p, g], 6, shared=True, static=static
            )
            found.append([c.ids.tolist() for row in replies for c in row])
    assert found[0] == found[1]
    assert max(map(len, found[0])) > 40 > 20 > min(map(len, found[0]))
    assert len(joined) >= 2


def test_a_policy_of_the_host_is_lent_to_the_device(tiny: Tiny) -> None:
    """As engine trl evaluates what it will divide: a copy that samples the same, and nothing of it stays."""
    groups = groups_of("qwen2_5_vl", tiny("qwen2_5_vl"))
    prompts = [Encoded(g.prompt_ids, g.media) for g in groups]
    with simulated():
        policy = load_policy(str(tiny("qwen2_5_vl")), lora=Lora(r=2), device="cpu")
        trainer: Any = SimpleNamespace(policy=policy, backend=Native(policy))
        greedy = Sampling(max_new_tokens=6, temperature=0.0)
        here = trainer.backend.complete(prompts, 1, greedy)
        before = {name: (p.data_ptr(), p.device.type) for name, p in policy.model.named_parameters()}
        with lent(trainer, torch.device("cuda")):
            assert trainer.policy is not policy
            assert trainer.backend.policy is trainer.policy
            kinds = {(p.device.type, p.dtype) for p in trainer.policy.model.parameters()}
            assert kinds == {("cuda", torch.bfloat16)}
            trainer.policy.model.float()
            trainer.policy.half = False
            there = trainer.backend.complete(prompts, 1, greedy)
        assert trainer.policy is trainer.backend.policy is policy
        assert before == {name: (p.data_ptr(), p.device.type) for name, p in policy.model.named_parameters()}
        assert {p.device.type for p in policy.model.parameters()} == {"cpu"}
    right = sum(a[0].ids[0] == b[0].ids[0] for a, b in zip(here, there, strict=True))
    assert right == len(prompts)  # their first tokens: bfloat16 weights may part later


def checked(folder: Path) -> Preflight:
    policy = load_policy(str(folder), lora=Lora(r=2), device="cuda")
    with autocast(policy):
        return preflight(policy.model, groups_of("llama", folder))


def test_a_tensor_left_on_the_cpu_is_found(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """The simulation is worth something: a forgotten `.to(device)` stops it."""
    right = prefix._row_positions
    monkeypatch.setattr(prefix, "_row_positions", lambda inner, groups: right(inner, groups).cpu())
    with simulated():
        result = checked(tiny("llama"))
    assert not result.ok
    assert result.reason.startswith(
        "its packed forward fails: RuntimeError: Expected all tensors to be on the same dev"
    )


def test_a_query_left_in_float32_is_found(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """As CUDA's kernels refuse it; the attention that copies is used in its place, and agrees."""
    right = attention.flexible_attention
    monkeypatch.setattr(attention, "flexible_attention", lambda q, *more: right(q.float(), *more))
    with simulated():
        result = checked(tiny("llama"))
    assert result.ok
    assert "Expected one dtype, got torch.float32, torch.bfloat16, torch.bfloat16" in result.reason


def test_the_simulation_itself() -> None:
    with simulated() as gpu:
        x = torch.randn(3, 4, device="cuda")
        y = torch.randn(4, 5).to("cuda").requires_grad_()
        with torch.autocast("cuda", dtype=torch.bfloat16):
            assert (x @ y).dtype == torch.bfloat16
        (x @ y).sum().backward()
        assert isinstance(y.grad, SimTensor)
        assert str(y.grad.device) == "cuda:0"
        with pytest.raises(RuntimeError, match="same device"):
            x + torch.randn(3, 4)
        assert (x + torch.tensor(1.0)).device.type == "cuda"
        before = gpu.waits.total()
        float(x.sum())
        assert gpu.waits.total() == before + 1
        event = torch.cuda.Event()
        flag = torch.empty(()).pin_memory()
        flag.copy_(x.sum(), non_blocking=True)
        event.record()
        x.mul(2)
        event.synchronize()
        assert gpu.waits.total() == before + 1, "the device had something to do"
        event.record()
        event.synchronize()
        assert gpu.waits.total() == before + 2
        with torch.cuda.graph(torch.cuda.CUDAGraph()), pytest.raises(RuntimeError, match="stream is capturing"):
            x.sum().item()
