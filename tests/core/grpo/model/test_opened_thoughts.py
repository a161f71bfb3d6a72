"""Chat templates that write the beginning of the reply, as reasoning models' do: "<think>" stands before it."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import torch

from ssl4rl import Choice, Example
from ssl4rl.core.grpo.model.policy import Policy, load_policy
from tests.core.grpo.runs import recipe, run
from tests.tiny_models import build

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

LETTER = Choice("AB")
EXAMPLE = Example(("Which?",), "B")


def with_template(kind: str, folder: Path, written: str) -> Path:
    """A tiny model whose template writes `written` behind "assistant"."""
    build(kind, folder)
    file = folder / "chat_template.jinja"
    template = file.read_text()
    opened = template.replace("<|im_start|>assistant\\n'", f"<|im_start|>assistant\\n{written}'")
    assert opened != template
    file.write_text(opened)
    return folder


def raw(policy: Policy, ids: torch.Tensor) -> str:
    return str(policy.encoder.tokenizer.decode(ids[:-1]))


@pytest.mark.parametrize("kind", ["qwen2", "qwen2_5_vl"])
@pytest.mark.parametrize("written", ["<think>\\n", "<think>", "\\n<think>\\n\\n"])
def test_the_warm_up_closes_the_thought_and_the_reply_has_the_form(tmp_path: Path, kind: str, written: str) -> None:
    policy = load_policy(str(with_template(kind, tmp_path / kind, written)), device="cpu")
    rendered = policy.encoder.render(EXAMPLE, LETTER.ask())
    opened = written.replace("\\n", "\n").lstrip()
    assert rendered.endswith(opened)
    assert policy.encoder.opening == opened
    for style in ("think", "answer"):
        ids = policy.tokens(LETTER.complete("B", style))
        assert raw(policy, ids) == "</think><answer>B</answer>"
        assert policy.decode(ids) == f"{opened}</think><answer>B</answer>"
        score = LETTER.score(policy.decode(ids), EXAMPLE, style=style)
        assert (score.verdict, score.parts["format"]) == ("correct", 1.0)


def test_what_stands_in_the_opened_thought_is_not_paid(tmp_path: Path) -> None:
    policy = load_policy(str(with_template("qwen2", tmp_path / "m", "<think>\\n")), device="cpu")

    def scored(written: str) -> tuple[str, float]:
        ids = policy.encoder.tokenizer(written, add_special_tokens=False, return_tensors="pt")["input_ids"][0]
        score = LETTER.score(policy.decode(ids), EXAMPLE, style="think")
        return score.verdict, score.parts["format"]

    assert scored("it is blue</think><answer>B</answer>") == ("correct", 1.0)
    assert scored("maybe <answer>B</answer>, but") == ("unparsed", 0.0)
    assert scored("<think>it is blue</think><answer>B</answer>") == ("correct", 0.0)  # a second thought
    assert scored("maybe <answer>B</answer>, no</think><answer>A</answer>") == ("wrong", 1.0)


def test_a_thought_that_the_template_closes_leaves_the_form_to_the_reply(tmp_path: Path) -> None:
    policy = load_policy(str(with_template("qwen2", tmp_path / "m", "<think>\\n\\n</think>\\n\\n")), device="cpu")
    assert policy.encoder.opening == ""
    ids = policy.tokens(LETTER.complete("B"))
    assert raw(policy, ids) == policy.decode(ids) == "<think></think><answer>B</answer>"


def test_other_templates_open_nothing(tmp_path: Path) -> None:
    build("llama", tmp_path / "llama")
    policy = load_policy(str(tmp_path / "llama"), device="cpu")
    assert policy.encoder.opening == ""
    (tmp_path / "llama" / "chat_template.jinja").unlink()
    assert load_policy(str(tmp_path / "llama"), device="cpu").encoder.opening == ""


def test_an_encoder_goes_to_a_worker_with_what_it_opened(tmp_path: Path) -> None:
    policy = load_policy(str(with_template("qwen2", tmp_path / "m", "<think>\\n")), device="cpu")
    assert pickle.loads(pickle.dumps(policy.encoder)).opening == policy.encoder.opening == "<think>\n"


@pytest.mark.slow
def test_a_run_warms_up_to_the_form(tmp_path: Path) -> None:
    """Without the opened thought in the target and in what is scored, format is 0 for ever."""
    folder = with_template("qwen2", tmp_path / "m", "<think>\\n")
    warm = {"steps": 40, "prompts_per_step": 8}
    run(
        recipe(
            tmp_path / "out", folder, text=True, prompt={"style": "think"}, sampling={"max_new_tokens": 20},
            warmup=warm, optim={"lr": 5e-3}, train={"steps": 1},
        )
    )  # fmt: skip
    (metrics,) = tmp_path.glob("out/**/metrics.jsonl")
    trained = [row for row in map(json.loads, metrics.read_text().splitlines()) if row["phase"] == "train"]
    assert trained[-1]["format"] >= 0.5
    assert "<think>\n</think><answer>A</answer>" in replies(tmp_path)


def test_trl_scores_whole_replies(tmp_path: Path) -> None:
    folder = with_template("qwen2", tmp_path / "m", "<think>\\n")
    run(recipe(tmp_path / "out", folder, text=True, engine="trl", prompt={"style": "think"}))
    assert all(text.startswith("<think>\n") for text in replies(tmp_path))


def replies(folder: Path) -> set[str]:
    (log,) = folder.glob("out/**/rollouts.jsonl")
    texts = {c["text"] for line in log.read_text().splitlines() for c in json.loads(line)["completions"]}
    assert texts
    return texts
