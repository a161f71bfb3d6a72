"""Evaluation counts what a policy says; here one that says what it is told."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from ssl4rl.core.grpo.model.policy import Policy, load_policy
from ssl4rl.core.grpo.record.evaluate import evaluate, wilson
from ssl4rl.core.grpo.sampling.rollout import Completion
from ssl4rl.core.mixture import create_dataset
from tests.fakes import FAKES


def test_wilson_by_hand() -> None:
    assert wilson(0, 0) == (0.0, 1.0)
    # n = 10, p = .5, z^2 = 3.8414589: centre (.5 + .19207) / 1.38415 = .5, spread 1.95996 sqrt(.025 + .0096) / 1.38415
    assert wilson(5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-4)
    # p = 0: from 0 to z^2 / (n + z^2)
    assert wilson(0, 10) == pytest.approx((0.0, 3.8414589 / 13.8414589), abs=1e-6)
    assert wilson(10, 10) == pytest.approx((10 / 13.8414589, 1.0), abs=1e-6)
    assert wilson(320, 400) == pytest.approx((0.7580, 0.8363), abs=1e-4)


def script(index: int, answer: str) -> tuple[str, bool]:
    """What is said to the question at `index`, and whether the token limit cut it: ten cases in turn."""
    right, wrong = f"<answer>{answer}</answer>", f"<answer>{'B' if answer == 'A' else 'A'}</answer>"
    said = [right, right, right, wrong, wrong, "no idea", "<answer>perhaps</answer>", "<answer>", "let me see", right]
    return said[index % 10], index % 10 >= 7


@pytest.fixture(scope="module")
def policy() -> Policy:
    return load_policy("embedded:tiny_vlm", device="cpu", trainable=False)


def test_verdicts_are_counted(policy: Policy) -> None:
    dataset = create_dataset(f"{FAKES}:letter", size=100, style="answer")
    asked: list[str] = []

    class Scripted:
        def complete(self, prompts: Any, group_size: int, *_: Any, **__: Any) -> list[list[Completion]]:
            assert group_size == 1
            said = []
            for prompt in prompts:
                example = dataset[len(asked)]
                asked.append(policy.encoder.tokenizer.decode(prompt.prompt_ids))
                assert example.text() in asked[-1]
                text, truncated = script(len(asked) - 1, example.answer)
                said.append([Completion(torch.tensor([1]), text, truncated)])
            return said

        def wait_for_others(self) -> None:
            pass

    result = evaluate(policy, dataset, max_new_tokens=4, backend=Scripted())
    # 3 right, 2 wrong, 2 unparsed, 2 cut short, and one that was cut after its answer
    shares = {"accuracy": 0.4, "value": 0.4, "unparsed": 0.2, "truncated": 0.2}
    expected = {**shares, "ci95": [0.3094, 0.498], "chance": 0.5}
    assert result.to_json() == {**expected, "n": 100}
    assert result.accuracy == 0.4
    assert result.by_task() == {"fakes/letter@1[easy]": {**expected, "n": 100}}
    answers = result.answers()
    assert answers["None"] == 40
    assert answers["A"] + answers["B"] == 60


def test_a_mixture_is_counted_task_by_task(policy: Policy) -> None:
    parts = [{"task": f"{FAKES}:letter", "level": "easy"}, {"task": f"{FAKES}:letter", "level": "hard"}]
    dataset = create_dataset(parts, size=20, style="answer")
    result = evaluate(policy, dataset, max_new_tokens=2)
    tasks = result.by_task()
    assert set(tasks) == {"fakes/letter@1[easy]", "fakes/letter@1[hard]"}
    assert sum(part["n"] for part in tasks.values()) == 20
    assert {name: part["chance"] for name, part in tasks.items()} == {
        "fakes/letter@1[easy]": 0.5,
        "fakes/letter@1[hard]": 0.25,
    }


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_evaluation_repeats_itself(policy: Policy, temperature: float) -> None:
    """Whatever the batches, the workers and the state of torch's generator."""
    dataset = create_dataset(f"{FAKES}:letter", size=12, style="answer")
    said = []
    for at_once, workers in ((512, 0), (5, 0), (512, 1)):
        result = evaluate(policy, dataset, max_new_tokens=6, temperature=temperature, at_once=at_once, workers=workers)
        said.append([a.completion.text for a in result.answered])
    assert said[0] == said[1] == said[2]
    assert len(set(said[0])) > 1 or temperature == 0
    assert not any(module.training for module in policy.model.modules()) or policy.model.training
