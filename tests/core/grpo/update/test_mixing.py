"""Several tasks, levels and modalities in one run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor

from ssl4rl.core.curriculum import Outcome, arms_of
from ssl4rl.core.grpo.logps.prefix import Group, shared_logps, unshared_logps
from ssl4rl.core.grpo.model.policy import Encoder, Policy, load_policy
from ssl4rl.core.grpo.model.pretrained import Lora
from ssl4rl.core.grpo.opening import open_data
from ssl4rl.core.grpo.sampling.rollout import generate
from ssl4rl.core.grpo.sampling.sampler import Sampling
from ssl4rl.core.grpo.stream import Prompt, PromptStream
from ssl4rl.core.grpo.trainer import Trainer
from ssl4rl.core.grpo.update.mixing import agreement, by_arm, compared_parameters, outcomes
from ssl4rl.core.mixture import create_dataset
from ssl4rl.core.types import Score
from ssl4rl.embedded.models import SHAPES, processor
from tests.core.grpo.runs import FAKES, metrics, recipe, resumed, run, run_until, same
from tests.core.grpo.test_ranks import launch

# torch counts this machine's cores
pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")

LETTER = f"{FAKES}:letter"
ROTATION = {"task": "vision/rotation", "level": "90deg,original=false,image_px=32", "data": "scenes:"}
LEVELS = {"task": LETTER, "levels": ["easy", "hard"], "data": "many:200"}


def key_of(prompt: Prompt) -> tuple[int, str, list[int]]:
    assert prompt.example.key
    return prompt.index, prompt.example.key.level, prompt.encoded.prompt_ids.tolist()


@pytest.mark.parametrize("workers", [0, 1])
def test_weights_of_a_stream_act_at_once(workers: int) -> None:
    """What workers made ahead for other weights is made again, so they change nothing."""
    encoder = Encoder(processor(SHAPES["tiny_vlm"]), text_only=False)
    data = create_dataset([LEVELS], style="answer")
    with closing(PromptStream(data, encoder, workers=workers, weights=[1, 0])) as stream:
        first = stream.take(5)
        stream.weights = [0, 1]
        second = stream.take(20)
        stream.weights = [1, 1]
        third = stream.take(8)
    assert [p.example.key.level for p in first if p.example.key] == ["easy"] * 5
    assert [p.example.key.level for p in second if p.example.key] == ["hard"] * 20
    assert [p.index for p in (*first, *second, *third)] == list(range(33))
    later = PromptStream(data, encoder, start=25, weights=[1, 1])
    assert [key_of(p) for p in third] == [key_of(p) for p in later.take(8)]
    assert {p.component for p in third} == {0, 1}


OWN = '''
from ssl4rl import Strategy

class Turns(Strategy):
    """A level for two steps, then the other; which one first depends on what was earned."""

    def __init__(self, arms):
        super().__init__(arms)
        self.asked, self.earned = 0, 0.0

    def weights(self, stats):
        self.asked += 1
        self.earned += sum(s.value + s.chance * s.groups for s in stats.arms)
        even = (self.asked // 2) % 2
        return [even + self.earned / 1000, 1 - even]

    def state(self):
        return {"asked": self.asked, "earned": self.earned}
'''


def turning(out: Path, **changes: Any) -> Any:
    file = out / "turns.py"
    out.mkdir(parents=True, exist_ok=True)
    file.write_text(OWN)
    sections = {"warmup": {"steps": 1}, "grpo": {"prompts_per_step": 4}, **changes}
    return recipe(out, text=True, tasks=[LEVELS], curriculum={"strategy": f"{file}:Turns"}, **sections)


def test_a_killed_run_with_a_curriculum_resumes_bit_for_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    straight = turning(tmp_path)
    run(straight)
    log = [line for line in metrics(straight.folder) if line["phase"] == "train"]
    easy = [line["weights"]["fakes/letter@1[easy]"] for line in log]
    assert easy[0] < 0.1
    assert min(easy[1:3]) > 0.9
    assert easy[3] < 0.1
    assert log[0]["curriculum"]["asked"] == 1
    levels = [set(line["arms"]) for line in log]
    assert levels[0] == {"fakes/letter@1[hard]"}
    assert levels[1] == {"fakes/letter@1[easy]"}
    assert log[0]["arms"]["fakes/letter@1[hard]"]["groups"] == 4
    stopped = turning(tmp_path, train={"workers": 1, "keep_checkpoints": 1}, name="stopped")
    run_until(stopped, 4, monkeypatch)
    run(resumed(stopped))
    assert same(straight.folder, stopped.folder)


def test_the_warm_up_is_spread_over_all_levels(tmp_path: Path) -> None:
    lines = [{**LEVELS, "shares": [0, 1]}]
    settings = recipe(tmp_path, text=True, tasks=lines, warmup={"steps": 1, "prompts_per_step": 4})
    t = Trainer(settings, load_policy("embedded:tiny_vlm", device="cpu"), open_data(settings).train)
    assert t.weights == [0.5, 0.5]
    t.run_step()
    assert t.weights == [0, 1]
    made, rollouts = t.run_step()
    assert rollouts is not None
    assert [prompt.component for prompt in rollouts.prompts] == [1, 1]
    assert made["weights"] == {"fakes/letter@1[easy]": 0.0, "fakes/letter@1[hard]": 1.0}


@pytest.fixture(scope="module")
def policy() -> Policy:
    return load_policy("embedded:tiny_vlm", device="cpu")


@pytest.fixture(scope="module")
def prompts(policy: Policy) -> list[Prompt]:
    data = create_dataset([ROTATION, LEVELS], style="answer")
    taken = PromptStream(data, policy.encoder).take(6)
    assert {"pixel_values" in p.encoded.media for p in taken} == {True, False}
    return taken


@pytest.mark.parametrize("shared", [False, True])
def test_prompts_with_and_without_pictures_in_one_batch(policy: Policy, prompts: list[Prompt], shared: bool) -> None:
    """Sampling does not depend on what else is in the batch."""

    def sampled(part: list[Prompt]) -> list[list[list[int]]]:
        def uniforms(p: int, g: int) -> Any:
            return torch.rand(5, generator=torch.Generator().manual_seed(10 * part[p].index + g)).double().numpy()

        encoded = [p.encoded for p in part]
        groups = generate(policy, encoded, 3, Sampling(max_new_tokens=5), uniforms, shared=shared)
        return [[c.ids.tolist() for c in row] for row in groups]

    together = sampled(prompts)
    assert together == [sampled([p])[0] for p in prompts]


def test_log_probs_of_a_row_with_and_without_pictures(policy: Policy, prompts: list[Prompt]) -> None:
    ids = [policy.tokens("<answer>B</answer>"), policy.tokens("<answer>")[:1]]
    groups = [Group(p.encoded.prompt_ids, p.encoded.media, ids) for p in prompts]
    with torch.no_grad():
        shared, unshared = shared_logps(policy.model, groups), unshared_logps(policy.model, groups)
    assert float((shared.logp_PGT - unshared.logp_PGT).abs().max()) < 1e-4


def on_two_modalities(out: Path, every: int = 2) -> Any:
    return recipe(
        out,
        text=True,
        tasks=[ROTATION, {**LEVELS, "levels": ["easy"]}],
        warmup={"steps": 1, "prompts_per_step": 8, "rehearsal": 0.1},
        grpo={"prompts_per_step": 8, "advantage_scale": "task"},
        train={"steps": 2, "gradient_agreement_every": every},
    )


def test_one_run_on_two_modalities(tmp_path: Path) -> None:
    settings = on_two_modalities(tmp_path)
    said = run(settings)
    assert any(line.startswith("shared prompts: on") for line in said)
    log = [line for line in metrics(settings.folder) if line["phase"] == "train"]
    names = ["vision/rotation@1[90deg,image_px=32,original=false]", "fakes/letter@1[easy]"]
    assert list(log[0]["arms"]) == list(log[0]["weights"]) == names
    assert {part["groups"] for line in log for part in line["arms"].values()} <= {3, 4, 5}
    evaluated = [line for line in metrics(settings.folder) if line["phase"] == "eval"][-1]
    assert set(evaluated["tasks"]) == set(names)


def test_looking_at_gradients_changes_nothing(tmp_path: Path) -> None:
    """Every second step, between tasks of different modalities; the update is the same as without looking."""
    after = []
    for every in (2, 0):
        settings = on_two_modalities(tmp_path, every)
        policy = load_policy("embedded:tiny_vlm", device="cpu")
        t = Trainer(settings, policy, open_data(settings).train, step=1)
        for step, expected in ((1, bool(every)), (2, False)):
            t.step = step
            torch.manual_seed(step)
            sampled = t.sample(t.stream.take(8))
            rollouts = replace(sampled, reward_PG=torch.rand(8, 3, generator=torch.Generator().manual_seed(step)))
            t._learn(rollouts, 1e-3)
            assert bool(rollouts.agreement) == expected
            if expected:
                tasks = ("fakes/letter@1", "vision/rotation@1")
                pairs = [(a, b) for a, b, _ in rollouts.agreement]
                assert pairs == [(tasks[0], tasks[0]), tasks, (tasks[1], tasks[1])]
                assert all(-1 <= cosine <= 1 for _, _, cosine in rollouts.agreement)
        after.append([p.clone() for p in t.learner.parameters])
    assert all(torch.equal(a, b) for a, b in zip(*after, strict=True))


def test_outcomes_by_arm(prompts: list[Prompt]) -> None:
    data = create_dataset([ROTATION, LEVELS], style="answer")
    right, wrong = Score(1.0, "correct"), Score(0.0, "wrong")
    scored = [(p, [right, wrong] if p.component == 0 else [wrong, wrong]) for p in prompts]
    found = outcomes(data, scored)
    assert found[[p.component for p in prompts].index(0)] == Outcome(0, 0.5, 0.5, 0.5, 0.25, 0.25)
    table = by_arm(arms_of(data), found)
    pictures = table["vision/rotation@1[90deg,image_px=32,original=false]"]
    groups = sum(p.component == 0 for p in prompts)
    halves = dict.fromkeys(("accuracy", "value", "signal"), 0.5)
    assert pictures == {"groups": groups, **halves, "zero_variance": 0.0, "chance": 0.25}
    assert table["fakes/letter@1[hard]"]["zero_variance"] == 1.0


def test_agreement_of_known_gradients() -> None:
    """Group gradients in the plane: a to the right, b up with a little noise, c to the left; d has one group alone."""
    vectors = {"a": [(2.0, 0.0), (1.0, 0.0)], "b": [(1.0, 2.0), (-1.0, 2.0)], "c": [(-1.0, 0.0)] * 2, "d": [(1.0, 1.0)]}
    tasks = [task for task, group in vectors.items() for _ in group]
    flat = [vector for group in vectors.values() for vector in group]
    parameter = torch.zeros(2, requires_grad=True)

    def gradient_of(rows: Sequence[int]) -> None:
        parameter.grad = torch.tensor([flat[i] for i in rows]).sum(0)

    found = {(a, b): cosine for a, b, cosine in agreement(tasks, [parameter], gradient_of)}
    expected = {("a", "a"): 1.0, ("a", "b"): 0.0, ("a", "c"): -1.0, ("b", "b"): 0.6, ("b", "c"): 0.0, ("c", "c"): 1.0}
    assert found == pytest.approx(expected)
    assert list(found) == list(expected)


def test_gradients_are_compared_on_the_lora_or_the_last_block(policy: Policy) -> None:
    def named(policy: Policy, wanted: list[Tensor]) -> set[str]:
        ids = {id(p) for p in wanted}
        return {name for name, p in policy.model.named_parameters() if id(p) in ids}

    last = named(policy, compared_parameters(policy))
    assert last
    assert len({name.partition(".layers.")[2].partition(".")[0] for name in last}) == 1
    adapter = load_policy("embedded:tiny_vlm", device="cpu", lora=Lora(r=2, alpha=4, dropout=0.0, target="all-linear"))
    assert all("lora_" in name for name in named(adapter, compared_parameters(adapter)))


def test_the_log_is_json(tmp_path: Path) -> None:
    settings = turning(tmp_path, train={"steps": 1}, warmup={"steps": 0})
    run(settings)
    line = json.loads((settings.folder / "metrics.jsonl").read_text().splitlines()[1])
    assert sum(line["weights"].values()) == pytest.approx(1, abs=1e-5)


@pytest.mark.slow
def test_two_processes_decide_the_same(tmp_path: Path) -> None:
    """Each samples half of the prompts, and both know what all of them earned."""
    logs = []
    for processes in (1, 2):
        settings = recipe(
            tmp_path,
            text=True,
            name=f"run{processes}",
            curriculum={"strategy": "goldilocks", "memory": 8, "anneal": 4},
            train={"processes": processes, "gradient_agreement_every": 1},
            warmup={"steps": 40, "prompts_per_step": 8},
            grpo={"prompts_per_step": 8, "group_size": 4, "advantage_scale": "task"},
            tasks=[LEVELS, {"task": f"{FAKES}:pair", "data": "many:200"}],
        )
        file = tmp_path / f"{processes}.yaml"
        file.write_text(yaml.safe_dump(settings.dump()))
        if processes == 1:
            run(settings)
        else:
            launch("ssl4rl", "train", file)
        logs.append([line for line in metrics(settings.folder) if line["phase"] == "train"])
    one, two = logs
    assert len(one) == len(two) == 4
    assert any(line.get("agreement") for line in one)
    for mine, theirs in zip(one, two, strict=True):
        assert mine["weights"] == theirs["weights"]
        assert mine["curriculum"] == theirs["curriculum"]
        assert mine["arms"] == theirs["arms"]
        pairs = [line.get("agreement", []) for line in (mine, theirs)]
        assert [row[:2] for row in pairs[0]] == [row[:2] for row in pairs[1]]
        assert [row[2] for row in pairs[0]] == pytest.approx([row[2] for row in pairs[1]], abs=1e-3)
