"""Steps of one shape: what they may not do if a GPU is to replay them, and the wrapper that would record them.

That they sample the right tokens is in test_cascade.py and test_rollout.py. No CUDA graph is recorded here.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from ssl4rl.core.grpo.preflight import why_not_static
from ssl4rl.core.grpo.sampling import static
from ssl4rl.core.grpo.sampling.rollout import decoded_logps
from ssl4rl.core.grpo.sampling.sampler import Sampling
from ssl4rl.core.grpo.sampling.static import FIRST_ROOM, WARM_UP, Replayed, StaticCascade
from tests.core.grpo.cases import groups_of, load
from tests.core.grpo.runs import recipe, run
from tests.core.grpo.sampling.test_cascade import TOKENS, double, tokens

Tiny = Callable[[str], Path]
WAITS = (
    "_local_scalar_dense",
    "item",
    "is_nonzero",
    "nonzero",
    "masked_select",
    "unique",
    "bincount",
    "equal",
    "lift_fresh",
)


class Ops(TorchDispatchMode):
    """Notes the operators that run, and refuses those that a graph cannot hold: Python waiting for the GPU, shapes that
    depend on values, numbers copied from Python (lift_fresh)."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = str(func).removeprefix("aten.")
        self.seen.append(name)
        assert not any(name.lstrip("_").startswith(word.lstrip("_")) for word in WAITS), f"{name} waits"
        if name.startswith("index"):
            given = [x for x in torch.utils._pytree.tree_leaves(args) if isinstance(x, Tensor)]
            assert all(x.dtype != torch.bool for x in given[1:]), f"{name} by a mask waits"
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("kind", ["qwen2_5_vl", "qwen3_vl", "idefics3", "llama"])
def test_a_step_never_waits_and_keeps_its_memory(kind: str, tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every step between two growths runs the same operators on inputs, keys and values in the same places."""
    steps: list[tuple[Any, ...]] = []
    inner = StaticCascade._step

    def watched(self: StaticCascade, model: Any) -> Tensor:
        with Ops() as ops:
            logits_RV = inner(self, model)
        places = [x.data_ptr() for rows in self._rows if rows is not None for x in rows]
        places += [x.data_ptr() for x in (self._token_R, self._position_AR, self._now_1, self._later_T)]
        steps.append((self.room, tuple(logits_RV.shape), tuple(places), tuple(ops.seen)))
        return logits_RV

    monkeypatch.setattr(StaticCascade, "_step", watched)
    policy = double(tiny(kind))
    policy.eos_ids = [policy.eos_ids[0], *range(5, 11)]
    tokens(policy, kind, True, Sampling(max_new_tokens=TOKENS, temperature=1.3), static=True)
    assert len(steps) == TOKENS - 1
    first, later = steps[1:FIRST_ROOM], steps[FIRST_ROOM:]  # the very first step makes the memory
    assert {room for room, *_ in first} == {FIRST_ROOM}
    assert {room for room, *_ in later} == {2 * FIRST_ROOM}
    assert len(set(first)) == len(set(later)) == 1
    assert later[0][1][0] < first[0][1][0], "rows that ended leave when the memory grows"


def replay_on_the_cpu(recordings: list[int]) -> Callable[[Callable[[], Tensor], Any], Callable[[], Tensor]]:
    """What a GPU does, as far as a CPU can: every replay writes into the output of the first run."""

    def recorded(run: Callable[[], Tensor], device: torch.device) -> Callable[[], Tensor]:
        recordings.append(1)
        out: list[Tensor] = []

        def replay() -> Tensor:
            now = run()
            if not out:
                out.append(now)
            elif now is not out[0]:
                out[0].copy_(now)
            return out[0]

        return replay

    return recorded


class OnGpu(Replayed):
    """As on a GPU."""

    def __init__(self, device: torch.device) -> None:
        super().__init__(torch.device("cuda"))


@pytest.fixture
def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Recordings made, one entry each."""
    recordings: list[int] = []
    monkeypatch.setattr(static, "Replayed", OnGpu)
    monkeypatch.setattr(static, "aside", lambda run, device: run())
    monkeypatch.setattr(static, "recorded", replay_on_the_cpu(recordings))
    return recordings


@pytest.mark.parametrize("kind", ["qwen2_5_vl", "llama"])
def test_with_outputs_that_are_overwritten(kind: str, tiny: Tiny, as_on_a_gpu: list[int]) -> None:
    policy = double(tiny(kind))
    sampling = Sampling(max_new_tokens=TOKENS, temperature=1.3)
    assert tokens(policy, kind, True, sampling, static=True) == tokens(policy, kind, False, sampling)
    assert len(as_on_a_gpu) == 2, "one before the memory grew, one after"


def test_warm_up_then_one_recording(as_on_a_gpu: list[int]) -> None:
    ready, calls = OnGpu(torch.device("cpu")), []

    def step() -> Tensor:
        assert len(as_on_a_gpu) == (len(calls) >= WARM_UP)
        calls.append(1)
        return torch.tensor([len(calls)])

    assert [int(ready(step)) for _ in range(6)] == [1, 2, 3, 4, 5, 6]
    assert len(as_on_a_gpu) == 1


def test_what_cannot_be_recorded_runs_on_and_is_said(monkeypatch: pytest.MonkeyPatch, as_on_a_gpu: list[int]) -> None:
    def refuses(step: Callable[[], Tensor], device: torch.device) -> Any:
        as_on_a_gpu.append(1)
        raise RuntimeError("operation not permitted when stream is capturing\nand a page more")

    monkeypatch.setattr(static, "recorded", refuses)
    ready = OnGpu(torch.device("cpu"))
    for _ in range(WARM_UP):
        ready(lambda: torch.zeros(1))
    with pytest.warns(
        RuntimeWarning, match="without a CUDA graph, kernel by kernel: RuntimeError: operation not permitted"
    ):
        assert int(ready(lambda: torch.ones(1))) == 1
    assert int(ready(lambda: torch.ones(1))) == 1
    assert len(as_on_a_gpu) == 1, "tried once"


def test_without_a_gpu_nothing_is_recorded() -> None:
    ready = Replayed(torch.device("cpu"))
    assert [int(ready(lambda n=n: torch.tensor(n))) for n in range(5)] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("kind", ["qwen2_5_vl", "idefics3", "llama"])
def test_log_probs_are_those_of_the_other_decoder(kind: str, tiny: Tiny) -> None:
    model, groups = load(kind, tiny(kind)).eval(), groups_of(kind, tiny(kind))
    torch.testing.assert_close(
        decoded_logps(model, groups, static=True), decoded_logps(model, groups), atol=1e-5, rtol=1e-5
    )
    assert why_not_static(model, groups) is None


@pytest.mark.parametrize("fault", ["what is to come", "place", "raises"])
def test_faults_are_seen(fault: str, tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    model, groups = load("llama", tiny("llama")).train(), groups_of("llama", tiny("llama"))
    inner = StaticCascade._step

    def wrong(self: StaticCascade, model: Any) -> Tensor:
        if fault == "raises":
            raise RuntimeError("no room\nat all")
        if fault == "place":
            self._now_1.zero_()
        return inner(self, model)

    if fault == "what is to come":
        monkeypatch.setattr(StaticCascade, "_hide", lambda self, scores, prompt_tokens: None)
    else:
        monkeypatch.setattr(StaticCascade, "_step", wrong)
    reason = why_not_static(model, groups)
    expected = "it fails: RuntimeError: no room" if fault == "raises" else "its log-probs differ by"
    assert str(reason).startswith(expected)
    assert "all" not in str(reason).removeprefix(expected).partition("(allowed")[0]
    assert model.training


def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    steps: list[int] = []
    inner = StaticCascade._step

    def count(self: StaticCascade, model: Any) -> Tensor:
        steps.append(len(self))
        return inner(self, model)

    monkeypatch.setattr(StaticCascade, "_step", count)
    return steps


def test_a_run_decodes_so_if_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = counted(monkeypatch)
    plain = recipe(tmp_path / "plain", train={"steps": 1})
    run(plain)
    assert not steps
    asked = recipe(tmp_path / "asked", train={"steps": 1, "cuda_graphs": True})
    said = run(asked)
    assert not any("train.cuda_graphs" in line for line in said)
    assert 6 in steps, "training: two prompts of three completions"
    assert 4 in steps, "evaluation: four prompts"


def test_a_run_whose_static_steps_are_wrong_does_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StaticCascade, "_hide", lambda self, scores, prompt_tokens: None)
    steps = counted(monkeypatch)
    said = run(recipe(tmp_path, train={"steps": 1, "cuda_graphs": True}))
    warned = [line for line in said if "WARNING train.cuda_graphs" in line]
    assert len(warned) == 1
    assert "OFF, sampling launches kernel by kernel: its log-probs differ" in warned[0]
    assert 4 not in steps


def test_an_unshareable_model_does_without(tmp_path: Path, tiny: Tiny) -> None:
    said = run(recipe(tmp_path, tiny("mistral_window"), text=True, train={"steps": 1, "cuda_graphs": True}))
    assert "WARNING train.cuda_graphs: OFF, for it samples with shared prompts" in said
