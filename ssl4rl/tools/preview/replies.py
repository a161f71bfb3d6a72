"""Sample replies to an example with the verdicts they get: right, wrong, spelled otherwise, malformed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ssl4rl.core.dataset import TaskDataset
from ssl4rl.core.task import keyed_rng
from ssl4rl.core.types import Example, Score
from ssl4rl.core.verify import Angle, Verifier, tagged

_FULLWIDTH = str.maketrans("0123456789", "０１２３４５６７８９")
_DRAWS = 200
_MAX_LOOKUP = 64
_MAX_SPELLINGS = 100


@dataclass(frozen=True)
class Reply:
    """A reply, what it is an example of, and its score. `inner` is what stands between its answer tags, if anything."""

    kind: str
    text: str
    inner: str | None
    score: Score


def sample_replies(data: TaskDataset, example: Example) -> list[Reply]:
    """A dozen or two replies to `example`, scored; no two the same."""
    verifier = data.component_of(example).verifier
    found: dict[str, Reply] = {}
    for kind, text, inner, truncated in _candidates(verifier, example, data):
        if text not in found:
            found[text] = Reply(kind, text, inner, data.score_answer(text, example, truncated=truncated))
    return list(found.values())


def lookup(data: TaskDataset, example: Example) -> list[tuple[str, Score]]:
    """Valid answers as plain text with their scores: all of them, in all spellings, where there are few."""
    verifier = data.component_of(example).verifier
    rng = keyed_rng("lookup", example.digest())
    answers = sorted({verifier.render(verifier.random_answer(example, rng)) for _ in range(_DRAWS)})[:_MAX_LOOKUP]
    texts = [text for answer in answers for text in (answer, *_spellings(verifier, answer))][:_MAX_SPELLINGS]
    return [(text, data.score_answer(tagged(text, data.style), example)) for text in dict.fromkeys(answers + texts)]


def _candidates(verifier: Verifier, example: Example, data: TaskDataset) -> Iterator[tuple[str, str, str | None, bool]]:
    """(kind, reply, inside of the tags, cut off)."""
    right = verifier.render(example.answer)
    for kind, inner in _answers(verifier, example):
        yield kind, tagged(inner, data.style), inner, False
    for inner in _spellings(verifier, right):
        yield "other spelling", tagged(inner, data.style), inner, False
    other = next((inner for kind, inner in _answers(verifier, example) if kind == "wrong"), "something else")
    malformed = tagged(f"It is {right}, I think", data.style)
    yield "sentence in the tags", malformed, f"It is {right}, I think", False
    yield "two answers", f"{tagged(right, data.style)} <answer>{other}</answer>", None, False
    yield "no tags", right, None, False
    yield "empty tags", tagged("", data.style), "", False
    yield "tag left open", tagged(right, data.style).removesuffix("</answer>"), None, False
    yield "only in the reasoning", f"<think>{tagged(right, 'answer')}</think>", None, False
    yield "cut off at the limit", "<think>Let me look at this step by step. First", None, True


def _answers(verifier: Verifier, example: Example) -> Iterator[tuple[str, str]]:
    yield "right", verifier.render(example.answer)
    for answer in example.accepted[1:3]:
        yield "also right", verifier.render(answer)
    rng = keyed_rng("sample replies", example.digest())
    seen = set()
    for _ in range(_DRAWS):
        answer = verifier.random_answer(example, rng)
        text = verifier.render(answer)
        score = verifier.score(tagged(text), example)
        if score.verdict in ("wrong", "partial") and score.verdict not in seen:
            seen.add(score.verdict)
            yield "wrong" if score.verdict == "wrong" else "partly right", text


def _spellings(verifier: Verifier, right: str) -> Iterator[str]:
    variants = [f"  {right}\n", right.lower(), right.upper(), f"({right})", f"{right}.", f"**{right}**"]
    variants += [right.translate(_FULLWIDTH), right.replace(",", ", "), right.replace(",", " ")]
    if isinstance(verifier, Angle):
        variants += [f"{right}°", f"{right} degrees", f"{-int(right) % 360} clockwise"]
    yield from dict.fromkeys(variant for variant in variants if variant != right)
