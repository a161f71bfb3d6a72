"""A model's accuracy on tasks (`ssl4rl eval`, `ssl4rl.evaluate`), never without chance, an interval and the shares of
unusable replies.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssl4rl.core import registry
from ssl4rl.core.dataset import TaskDataset
from ssl4rl.core.mixture import create_dataset
from ssl4rl.core.source import Part, Way
from ssl4rl.core.types import Ssl4rlError
from ssl4rl.tools.asked import Place, at_least, names, need, quiet, taken_lines
from ssl4rl.tools.charts import COLOURS
from ssl4rl.tools.page import blocks, drawings, template, visible
from ssl4rl.tools.run_log import EVALS, Run
from ssl4rl.tools.shown import Shown
from ssl4rl.tools.weights import Weights, as_asked, find_weights

if TYPE_CHECKING:
    from ssl4rl.core.grpo.record.evaluate import Answered, Evaluation

_MOST_ANSWERS = 12
_MOST_SHOWN = 2
_WITH_LEVEL = re.compile(r"(?P<task>.+?)(?:@(?P<version>\d+))?\[(?P<level>[^\[\]]*)\]")
_PACKAGES = ("ssl4rl", "torch", "transformers")


@dataclass(frozen=True)
class Result:
    """One task's evaluation.

    `figures`: accuracy, ci95 (Wilson), chance, value (partial credit included), unparsed, truncated and n. `answers`:
    how often each parsed answer was given, most frequent first; "no answer" for the replies without one. `examples`: a
    few that were answered right and a few that were not.
    """

    dataset: TaskDataset
    plugin: registry.Plugin
    figures: Mapping[str, Any]
    answers: Mapping[str, int]
    examples: tuple[Answered, ...]
    seconds: float

    @property
    def accuracy(self) -> float:
        return float(self.figures["accuracy"])

    @property
    def chance(self) -> float:
        return float(self.figures["chance"])

    def to_json(self) -> dict[str, Any]:
        component = self.dataset.components[0]
        return {
            "task": component.task.id,
            "level": component.level.name,
            "data": component.split.source.uri,
            "split": component.split.part,
            "seed": self.dataset.seed,
            "style": self.dataset.style,
            **self.figures,
            "answers": dict(self.answers),
            "seconds": round(self.seconds, 2),
        }


def _result(dataset: TaskDataset, plugin: registry.Plugin, found: Evaluation, seconds: float) -> Result:
    """Keeps of an evaluation what is shown; its hundreds of pictures go."""
    counts = found.answers()
    none = counts.pop("None", 0)
    answers = dict(counts.most_common()) | ({"no answer": none} if none else {})
    right = [one for one in found.answered if one.score.verdict == "correct"][:_MOST_SHOWN]
    other = [one for one in found.answered if one.score.verdict != "correct"][:_MOST_SHOWN]
    return Result(dataset, plugin, found.to_json(), answers, (*right, *other), seconds)


@dataclass(frozen=True, repr=False)
class Evaluated(Shown):
    """A model on one or more tasks. `saved`: the file in the run's folder that the results were appended to."""

    model: str
    results: tuple[Result, ...]
    saved: Path | None = None

    @property
    def taken(self) -> dict[str, str]:
        """What each source read and how, by URI; those with nothing to say are not there."""
        sources = [result.dataset.components[0].split.source for result in self.results]
        return {source.uri: source.taken for source in sources if source.taken}

    def to_json(self) -> dict[str, Any]:
        return {"model": self.model, "taken": self.taken, "results": [result.to_json() for result in self.results]}

    def __str__(self) -> str:
        blocks = ["\n".join(taken_lines(self.taken))] if self.taken else []
        for result in self.results:
            r = result.to_json()
            low, high = r["ci95"]
            answers = [f"{answer} ({count}x)" for answer, count in result.answers.items()]
            more = f", {len(answers) - _MOST_ANSWERS} more" if len(answers) > _MOST_ANSWERS else ""
            blocks.append(
                f"{r['task']}[{r['level']}]  {r['data']} ({r['split']}), seed {r['seed']}, reply style {r['style']}\n"
                f"  accuracy {r['accuracy']:.3f} (95 % {low:.3f}-{high:.3f}), chance {r['chance']:.3g}, "
                f"unparsed {r['unparsed']:.3f}, truncated {r['truncated']:.3f}, n {r['n']}\n"
                f"  answers: {', '.join(answers[:_MOST_ANSWERS])}{more}"
            )
        return "\n".join(blocks)

    def page(self) -> str:
        return template("evaluate/evaluate.html.jinja").render(
            found=self,
            results=[
                {
                    **result.to_json(),
                    "colour": i % COLOURS,
                    "common": list(result.answers.items())[:_MOST_ANSWERS],
                    "examples": [_example(result, one) for one in result.examples],
                }
                for i, result in enumerate(self.results)
            ],
        )


def _example(result: Result, one: Answered) -> dict[str, Any]:
    example, verifier = one.example, result.dataset.components[0].verifier
    return {
        "key": str(example.key),
        "blocks": list(blocks(example, result.plugin)),
        "drawings": drawings(example, result.plugin),
        "ask": result.dataset.ask(example),
        "answer": verifier.render(example.answer),
        "reply": visible(one.completion.text),
        "verdict": one.score.verdict,
        "value": f"{one.score.value:.2f}",
    }


def evaluate(
    model: Place,
    tasks: str | Sequence[str],
    *,
    data: Place | None = None,
    level: str | None = None,
    n: int = 400,
    split: Part = "held_out",
    held_out: float | None = None,
    split_by: Way | None = None,
    seed: int = 0,
    style: str | None = None,
    max_new_tokens: int | None = None,
    temperature: float = 0.0,
    system: str | None = None,
    before: bool = False,
    save: bool = False,
    say: Callable[[str], None] = print,
) -> Evaluated:
    """Measures a model on `n` examples of each task.

    Args:
        model: a folder, a hub id, "embedded:NAME", or a run (runs/NAME, its final/ or a checkpoint, or what `train`
            returned), whose recipe then says how questions are put.
        tasks: one or more, perhaps with a level as reports print it, "vision/rotation[90deg]"; of the others `level`
            is it.
        data: a folder or another source's URI; None is each task's own.
        split: "held_out", "train" or "all".
        style, max_new_tokens, system, held_out, split_by: None is what the run's recipe says where the model is a
            run's, else "think", 256, no system message, a share of 0.2, and what the source is split by unasked.
        temperature: 0 is greedy.
        before: the run's model as it was before GRPO: its `start/`, else the model that the recipe names.
        save: append a line for each task to evals.jsonl in the run's folder, for the report's table of transfer.
        say: is told where a damaged run's last good checkpoint stands in for its final model.

    Raises:
        Ssl4rlError: an unknown name, a number out of range, a source or model that cannot be opened, torch missing.
    """
    at_least(1, n=n, max_new_tokens=max_new_tokens)
    at_least(0, temperature=temperature)
    need("train", "torch", "transformers")
    model = os.fspath(model)
    place = find_weights(model, before=before)
    if place.run is None and (before or save):
        raise Ssl4rlError(
            f"{'before' if before else 'save'}: {model!r} is not in a run's folder, which has a recipe.yaml; "
            "allowed: runs/NAME, runs/NAME/final, runs/NAME/checkpoints/..."
        )
    chosen: dict[str, Any] = {"style": style, "max_new_tokens": max_new_tokens, "system": system}
    chosen |= {"held_out": held_out, "split_by": split_by}
    asked = as_asked(place.run) | {name: value for name, value in chosen.items() if value is not None}
    how = {"size": n, "seed": seed, "split": split, **{word: asked[word] for word in ("held_out", "split_by", "style")}}
    opened = []
    for name, its_level in (_named(task, level) for task in names(tasks)):
        opened.append((create_dataset(name, data, level=its_level, **how), registry.resolve(name)[1]))
    with quiet():
        from ssl4rl.core.grpo.model.policy import load_policy
        from ssl4rl.core.grpo.record.evaluate import evaluate as measure

        options = place.run.setting("model", "processor", {}) if place.run and place.weights == "model" else None
        policy = load_policy(
            place.path, name=model, trainable=False, system=asked["system"], options=options, **place.loading
        )
        if place.note:
            say(place.note)
        results = []
        for dataset, plugin in opened:
            started = time.perf_counter()
            found = measure(policy, dataset, max_new_tokens=asked["max_new_tokens"], temperature=temperature)
            results.append(_result(dataset, plugin, found, time.perf_counter() - started))
            if save and place.run:
                _save(place.run, place, results[-1], {**asked, "temperature": temperature})
    return Evaluated(model, tuple(results), place.run.folder / EVALS if save and place.run else None)


def _named(task: str, level: str | None) -> tuple[str, str | None]:
    """A task's name and its level, from "name[level]" or "name@version[level]".

    Raises:
        Ssl4rlError: the installed task has another version.
    """
    found = _WITH_LEVEL.fullmatch(task)
    if found is None:
        return task, level
    name, asked = found["task"], found["version"]
    installed = registry.resolve(name)[0]
    if asked and int(asked) != installed.version:
        raise Ssl4rlError(f"{task!r}: got version {asked}; allowed: {installed.version}, the installed one")
    return name, found["level"]


def _save(run: Run, place: Weights, result: Result, asked: Mapping[str, Any]) -> None:
    """Appends a line to the run's evals.jsonl. Raises Ssl4rlError where it cannot be written."""
    found = result.to_json()
    steps = (run.summary or {}).get("steps", run.done_steps)
    record = {
        "weights": place.weights,
        "model": run.model,
        "steps": steps if place.weights == "final" else None,
        **found,
        "answers": dict(list(found["answers"].items())[:_MOST_ANSWERS]),
        **{name: asked[name] for name in ("max_new_tokens", "temperature", "system", "held_out", "split_by")},
        "versions": {package: version(package) for package in _PACKAGES},
    }
    try:
        with (run.folder / EVALS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
    except OSError as error:
        raise Ssl4rlError(f"cannot write {str(run.folder / EVALS)!r}: {error.strerror}") from error
