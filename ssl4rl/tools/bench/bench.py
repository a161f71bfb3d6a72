"""Models on a multiple-choice benchmark (`ssl4rl bench`, `ssl4rl.bench`): accuracies by category with intervals and
chance, and models compared question by question.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from itertools import combinations
from pathlib import Path
from time import perf_counter
from typing import Any

from ssl4rl.core import registry
from ssl4rl.core.benchmark import Benchmark, Corrupt, Item, arranged, chosen
from ssl4rl.core.grpo.record.files import writing
from ssl4rl.core.types import Ssl4rlError, nearest
from ssl4rl.core.verify import STYLES
from ssl4rl.tools.asked import Place, at_least, names, need, quiet
from ssl4rl.tools.bench.asking import Answers, How, ask
from ssl4rl.tools.bench.scores import OVERALL, Answered, by_group, figures, paired, rows
from ssl4rl.tools.page import template
from ssl4rl.tools.run_log import BENCHES
from ssl4rl.tools.shown import Shown
from ssl4rl.tools.weights import Weights, as_asked, find_weights

CIRCULAR = ("auto", "on", "off")
_PACKAGES = ("ssl4rl", "torch", "transformers")


@dataclass(frozen=True)
class Result:
    """One model's. `answers`: the file that keeps its replies. `weights`: of which state of a run, "" for others."""

    model: str
    weights: str
    how: How
    answered: Sequence[Answered]
    answers: Path | None
    seconds: float

    @property
    def label(self) -> str:
        return f"{self.model} ({self.weights})" if self.weights not in ("", "final") else self.model

    def to_json(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "weights": self.weights,
            **self.how.to_json(),
            OVERALL: figures(self.answered),
            "groups": by_group(self.answered),
            "answers": str(self.answers) if self.answers else None,
            "seconds": round(self.seconds, 2),
        }


@dataclass(frozen=True, repr=False)
class Benched(Shown):
    """Models on one benchmark. `saved`: the runs' files that results were appended to."""

    benchmark: Benchmark
    circular: bool
    shuffle: bool
    results: tuple[Result, ...]
    saved: tuple[Path, ...] = ()

    def paired(self) -> list[dict[str, Any]]:
        """Every two models, by `scores.paired`, with their labels as `first` and `second`."""
        found = []
        for one, two in combinations(self.results, 2):
            right = [[answered.right for answered in result.answered] for result in (one, two)]
            found.append({"first": one.label, "second": two.label, **paired(*right)})
        return found

    def to_json(self) -> dict[str, Any]:
        return {
            "benchmark": self.benchmark.name,
            "file": self.benchmark.uri,
            "digest": self.benchmark.digest,
            "questions": len(self.benchmark.items),
            "circular": self.circular,
            "shuffle": self.shuffle,
            "models": [result.to_json() for result in self.results],
            "paired": self.paired(),
        }

    @property
    def way(self) -> str:
        """How it was asked, in words."""
        how = self.results[0].how
        parts = ["circular: all rotations must be right" if self.circular else "each question once"]
        parts += ["options shuffled"] * self.shuffle
        parts += [f"pictures corrupted ({how.corrupt})"] if how.corrupt else []
        return ", ".join([*parts, f"seed {how.seed}"])

    def __str__(self) -> str:
        lines = [f"{self.benchmark.name}  {self.benchmark.uri}; {self.way}"]
        for result in self.results:
            record = result.to_json()
            all_ = record[OVERALL]
            lines.append(
                f"\n{result.label}, reply style {result.how.style}: unparsed {all_['unparsed']:.3f}, truncated "
                f"{all_['truncated']:.3f}, empty {all_['empty']:.3f} of the replies"
            )
            width = max(len(value) for _, value, _ in rows(record)) + 2
            for group, value, found in rows(record):
                low, high = found["ci95"]
                lines.append(
                    f"  {value:{width}s}{found['accuracy']:.3f} (95 % {low:.3f}-{high:.3f}), chance "
                    f"{found['chance']:.3g}, n {found['n']}{f'  [{group}]' if group else ''}"
                )
        for pair in self.paired():
            low, high = pair["ci95"]
            lines.append(
                f"\n{pair['second']} against {pair['first']}: {pair['difference']:+.3f} "
                f"(95 % {low:+.3f} to {high:+.3f}), alone right {pair['second_alone']} against {pair['first_alone']} "
                f"of {pair['n']}, McNemar's exact p {pair['p']:.3g}"
            )
        return "\n".join(lines)

    def page(self) -> str:
        models = [result.to_json() | {"label": result.label} for result in self.results]
        lines = [
            {"group": group, "name": value, "chance": found["chance"], "n": found["n"],
             "cells": [_cell(model, group, value) for model in models]}
            for group, value, found in rows(models[0])
        ]  # fmt: skip
        return template("bench/bench.html.jinja").render(found=self, models=models, lines=lines, pairs=self.paired())


def _cell(model: dict[str, Any], group: str, value: str) -> Any:
    return model[OVERALL] if not group else model["groups"].get(group, {}).get(value)


def bench(
    models: Place | Sequence[Place],
    tsv: Place,
    *,
    n: int | None = None,
    circular: str = "auto",
    shuffle: bool = False,
    corrupt: str | None = None,
    seed: int = 0,
    style: str | None = None,
    max_new_tokens: int | None = None,
    temperature: float = 0.0,
    system: str | None = None,
    before: bool = False,
    out: Place | None = None,
    anew: bool = False,
    say: Callable[[str], None] = print,
    done: Callable[[int, int], None] = lambda done, of: None,
) -> Benched:
    """Measures models on a multiple-choice TSV of VLMEvalKit's layout (MMBench, SEED-Bench, MMStar, BLINK, ...).

    Args:
        models: one or more: a folder, a hub id, "embedded:NAME", or a run, whose recipe then says how questions are
            put, to the other models too where they are not runs.
        tsv: the file: `index`, `question`, `A`, `B`, ..., `answer`, and `image` or `image_path`.
        n: so many of its questions, chosen by the seed; None is all.
        circular: "on" asks each question once with every rotation of its options, all of which must be answered right;
            the file's own rotations are taken where it has them. "auto": exactly then.
        shuffle: options in an order of the seed's.
        corrupt: "noise:3" and the like, see `ssl4rl.vision.corruption`.
        style, max_new_tokens, system: None is what the run's recipe says, else "think", 256 and none.
        temperature: 0 is greedy.
        before: of a run, its model before GRPO too.
        out: the folder that keeps the replies, from which the same call goes on; None is the run's bench/, and ./bench
            for other models. Results are appended to bench.jsonl in a run's folder, for its report.
        anew: replies that are there already are asked for again.
        say: is told what a person should know. done: how many of how many replies there are.

    Raises:
        Ssl4rlError: a file that is no such TSV (row and reason), an unknown name, a model that cannot be opened.
    """
    at_least(1, n=n, max_new_tokens=max_new_tokens)
    at_least(0, temperature=temperature)
    for what, got, allowed in (("circular", circular, CIRCULAR), ("style", style, STYLES)):
        if got is not None and got not in allowed:
            raise Ssl4rlError(f"unknown {what} {got!r}{nearest(got, allowed)}")
    need("train", "torch", "transformers")
    opened = _opened(names(models), before)
    benchmark = _benchmark(str(tsv))
    changed = _corruption(corrupt)
    for note in (*benchmark.notes, *(line for _, place in opened for line in _seen(place, benchmark))):
        say(note)
    turned = benchmark.circular if circular == "auto" else circular == "on"
    items = [arranged(item, turned, shuffle, seed) for item in chosen(benchmark.items, n, seed)]
    asked = _asked_alike([place for _, place in opened])
    given = {"style": style, "max_new_tokens": max_new_tokens, "system": system}
    results = []
    for name, place in opened:
        settings = (as_asked(place.run) if place.run else asked) | {k: v for k, v in given.items() if v is not None}
        how = How(settings["style"], settings["max_new_tokens"], temperature, settings["system"], seed, corrupt)
        folder = Path(out) if out else place.run.folder / "bench" if place.run else Path("bench")
        about = {"weights": _fingerprint(place), "benchmark": benchmark.digest, **how.to_json()}
        answers = Answers(folder, benchmark.name, about, anew)
        results.append(_measured(name, place, items, how, changed, answers, done, say))
    if len({(result.how.style, result.how.max_new_tokens, result.how.system) for result in results}) > 1:
        say("WARNING the models were not asked alike: their recipes differ; --style, --max-new-tokens and --system do")
    found = Benched(benchmark, turned, shuffle, tuple(results))
    return replace(found, saved=tuple(_saved(found, [place for _, place in opened])))


def _opened(models: Sequence[str], before: bool) -> list[tuple[str, Weights]]:
    """What is measured, in order: a run's model before GRPO stands before it."""
    found = []
    for model in models:
        place = find_weights(model)
        if before:
            if place.run is None:
                raise Ssl4rlError(f"before: {model!r} is no run; allowed: runs/NAME, which has a recipe.yaml")
            found.append((model, find_weights(model, before=True)))
        found.append((model, place))
    if not found:
        raise Ssl4rlError("name at least one model")
    return found


def _benchmark(path: str) -> Benchmark:
    """Raises Ssl4rlError."""
    opener = registry.offered("benchmarks", "tsv")
    if opener is None:
        raise Ssl4rlError("no installed plugin reads benchmarks (the table BENCHMARKS)")
    found: Benchmark = opener(path)
    return found


def _corruption(name: str | None) -> Corrupt | None:
    """Raises Ssl4rlError."""
    if name is None:
        return None
    found: Corrupt = registry.offered("corruptions", "image")(name)
    return found


def _seen(place: Weights, benchmark: Benchmark) -> list[str]:
    """A warning where a run was trained on the benchmark's own pictures."""
    trained_on = (place.run.data if place.run else "").split(", ")
    own = [uri for uri in trained_on if Path(uri.removeprefix("tsv:")).stem == benchmark.name]
    return (
        [f"WARNING {place.run.name} was trained on pictures of this benchmark ({own[0]})"] if own and place.run else []
    )


def _asked_alike(places: Sequence[Weights]) -> dict[str, Any]:
    """How models are asked that are no runs: as the first run is, so that they can be compared."""
    return as_asked(next((place.run for place in places if place.run), None))


def _fingerprint(place: Weights) -> list[Any]:
    """What changes when the weights do: a folder's files with sizes and times; a hub id stands for itself."""
    folder = Path(place.path)
    if not folder.is_dir():
        return [place.path]
    files = sorted(file for file in folder.iterdir() if file.is_file())
    return [str(folder.resolve()), *([file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in files)]


def _measured(
    name: str,
    place: Weights,
    items: Sequence[Item],
    how: How,
    corrupt: Corrupt | None,
    answers: Answers,
    done: Callable[[int, int], None],
    say: Callable[[str], None],
) -> Result:
    """One model's replies and their scores; its weights are gone afterwards."""
    started = perf_counter()
    with quiet():
        from ssl4rl.core.grpo.model.policy import load_policy

        whole = all(answers.get(question) for item in items for question in item.asked)
        options = place.run.setting("model", "processor", {}) if place.run and place.weights == "model" else None
        policy = None
        if not whole:
            policy = load_policy(
                place.path, name=name, trainable=False, system=how.system, options=options, **place.loading
            )
        if place.note:
            say(place.note)
        answered = ask(policy, items, how, corrupt, answers, done)
    return Result(name, place.weights, how, answered, answers.file, perf_counter() - started)


def _saved(found: Benched, places: Sequence[Weights]) -> list[Path]:
    """Appends a line for each run's result to bench.jsonl in its folder. Raises Ssl4rlError."""
    whole = found.to_json()
    files = []
    for result, model, place in zip(found.results, whole["models"], places, strict=True):
        if place.run is None:
            continue
        label = result.label
        record = {
            **{key: whole[key] for key in ("benchmark", "file", "digest", "questions", "circular", "shuffle")},
            **model,
            "steps": (place.run.summary or {}).get("steps", place.run.done_steps),
            "paired": [pair for pair in whole["paired"] if label in (pair["first"], pair["second"])],
            "label": label,
            "versions": {package: version(package) for package in _PACKAGES},
        }
        file = place.run.folder / BENCHES
        with writing(file), file.open("a", encoding="utf-8") as opened:
            opened.write(f"{json.dumps(record)}\n")
        files.append(file)
    return list(dict.fromkeys(files))
