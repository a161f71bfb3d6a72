"""What a model can learn now (`ssl4rl probe`): groups of completions for every task and level that a source serves."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean, variance
from typing import Any

from ssl4rl.core import registry
from ssl4rl.core.curriculum import Outcome
from ssl4rl.core.dataset import TaskDataset
from ssl4rl.core.grpo.model.policy import Policy, load_policy
from ssl4rl.core.grpo.record.console import silent
from ssl4rl.core.grpo.record.evaluate import wilson
from ssl4rl.core.grpo.sampling.backend import Native
from ssl4rl.core.grpo.sampling.sampler import Sampling
from ssl4rl.core.grpo.stream import Prompt, encode
from ssl4rl.core.mixture import Sources, TaskSpec, level_names, open_mixture
from ssl4rl.core.source import Part
from ssl4rl.core.task import keyed_rng
from ssl4rl.core.types import Score, Ssl4rlError
from ssl4rl.tools.evaluate_model import of_a_run
from ssl4rl.tools.probe.advice import Advice, Row, advise, hints, recipe_lines

_ROWS = 256  # completions sampled at a time
_HEAD = ("", "success", "95 %", "chance", "of read", "unparsed", "truncated", "zero-var", "signal", "")


@dataclass(frozen=True)
class Probe:
    """A model on a source: one row a task and level, from easy to hard, and what follows from them."""

    model: str
    parameters: int
    data: str | None
    split: str
    style: str
    temperature: float
    seconds: float
    rows: Sequence[Row]

    @property
    def advice(self) -> list[Advice]:
        return advise(self.rows)

    @property
    def recipe(self) -> str:
        return recipe_lines(self.advice, self.data, self.style, self.parameters)

    @property
    def hints(self) -> list[str]:
        return list(hints(self.rows, self.advice, self.style))


def probe(
    model: str,
    tasks: Sequence[str] = (),
    *,
    data: str | None = None,
    level: str | Sequence[str] | None = None,
    n: int = 24,
    group: int = 8,
    split: Part = "train",
    seed: int = 0,
    style: str | None = None,
    max_tokens: int | None = None,
    max_new_tokens: int | None = None,
    temperature: float = 1.0,
    system: str | None = None,
    say: Callable[[str], None] = silent,
) -> Probe:
    """Samples `group` completions of `n` examples of every task and level.

    Args:
        model: as for `evaluate_model`.
        tasks: their names; none is all tasks of the plugins that read `data`.
        level: one level, several from easy to hard, or "all,image_px=32": all of them with that parameter; None is all.
        style, max_tokens, max_new_tokens, system: None is the run's where the model is a run's, else "think", 1024,
            256 and none.
        say: is told where a damaged run's last good checkpoint stands in for its final model.

    Raises:
        Ssl4rlError: an unknown name, or nothing could be measured at all.
    """
    path, asked, note = of_a_run(model)
    chosen = {"style": style, "max_tokens": max_tokens, "max_new_tokens": max_new_tokens, "system": system}
    asked |= {name: value for name, value in chosen.items() if value is not None}
    sources = Sources()
    names = [name for pattern in tasks for name in registry.expand(pattern)] or served_tasks(data)
    opened = [one for name in names for one in _open(name, level, data, split, seed, asked, sources)]
    if all(isinstance(one, Row) for one in opened):
        raise Ssl4rlError(next(one.why for one in opened if isinstance(one, Row)))
    policy = load_policy(path, name=model, trainable=False, system=asked["system"])
    if note:
        say(note)
    sampling = Sampling(temperature=temperature, max_new_tokens=asked["max_new_tokens"])
    started = time.perf_counter()
    rows = [
        one if isinstance(one, Row) else measure(policy, *one, n, group, sampling, asked["max_tokens"])
        for one in opened
    ]
    seconds = time.perf_counter() - started
    parameters = sum(p.numel() for p in policy.model.parameters())
    return Probe(model, parameters, data, split, asked["style"], temperature, seconds, rows)


def served_tasks(data: str | None) -> list[str]:
    """The installed tasks that can use a source, by name: those of the plugins that open it (all without one).

    Raises:
        Ssl4rlError: no plugin opens it; what the first one says.
    """
    plugins = [plugin for plugin in registry.plugins().values() if not plugin.broken]
    if data is not None:
        plugins = _readers(data, plugins)
    return [f"{plugin.name}/{short}" for plugin in plugins for short in plugin.tasks]


def _readers(data: str, plugins: Sequence[registry.Plugin]) -> list[registry.Plugin]:
    """The plugins that open a URI themselves; a plain path may be readable for several."""
    scheme, colon, _ = data.partition(":")
    if not colon or "/" in scheme or "\\" in scheme:
        scheme = ""
    named = [plugin for plugin in plugins if scheme in plugin.sources]
    found, problems = [], []
    for plugin in named or plugins[:1]:
        try:
            registry.open_source(data, plugin)
            found.append(plugin)
        except Ssl4rlError as error:
            problems.append(error)
    if not found:
        raise problems[0] if problems else Ssl4rlError(f"no plugin is installed that reads {data!r}")
    return found


Opened = tuple[str, TaskDataset]


def _open(
    name: str,
    level: str | Sequence[str] | None,
    data: str | None,
    split: Part,
    seed: int,
    asked: dict[str, Any],
    sources: Sources,
) -> list[Opened | Row]:
    """A dataset for each of a task's levels, or a row that says why there is none."""
    task, _ = registry.resolve(name)
    found: list[Opened | Row] = []
    for text in level_names(task, level or "all"):
        try:
            dataset = open_mixture(
                [TaskSpec(name, text)],
                data=data,
                split=split,
                held_out=asked["held_out"],
                seed=seed,
                style=asked["style"],
                sources=sources,
            )
            found.append((name, dataset))
        except Ssl4rlError as error:
            found.append(Row(name, task.id, text, data or task.data, why=str(error)))
    return found


def measure(
    policy: Policy, name: str, dataset: TaskDataset, n: int, group: int, sampling: Sampling, max_tokens: int
) -> Row:
    """Samples one task at one level; a row with the reason where source, model or length do not allow it."""
    (component,) = dataset.components
    row: dict[str, Any] = {
        "task": name,
        "id": component.task.id,
        "level": component.level.name,
        "data": component.split.source.uri,
    }
    started = time.perf_counter()
    try:
        prompts = [encode(dataset, policy.encoder, index) for index in range(n)]
    except Ssl4rlError as error:
        return Row(**row, why=str(error))
    lengths = [len(prompt.encoded.prompt_ids) for prompt in prompts]
    fitting = [p for p, length in zip(prompts, lengths, strict=True) if length <= max_tokens]
    if 2 * len(fitting) < n:
        over = n - len(fitting)
        return Row(
            **row, why=f"{over} of {n} prompts are longer than {max_tokens} tokens (the longest: {max(lengths)})"
        )
    texts = _sample(policy, dataset, fitting, group, sampling)
    seconds = time.perf_counter() - started
    scores = [[score for score, _ in replies] for replies in texts]
    rejected = sum(len(prompt.example.meta.get("rejected", ())) for prompt in prompts)
    return Row(
        **row,
        n=len(fitting),
        group=group,
        chance=fmean(dataset.chance(prompt.example) for prompt in fitting),
        unusable=rejected / (rejected + n),
        too_long=n - len(fitting),
        prompt_tokens=max(len(prompt.encoded.prompt_ids) for prompt in fitting),
        completion_tokens=fmean(tokens for replies in texts for _, tokens in replies),
        seconds_per_prompt=seconds / n,
        **_shares(scores),
    )


def _sample(
    policy: Policy, dataset: TaskDataset, prompts: Sequence[Prompt], group: int, sampling: Sampling
) -> list[list[tuple[Score, int]]]:
    """The verdict on each completion of each prompt, and its tokens."""
    component = dataset.components[0]

    def uniforms(p: int, g: int) -> Any:
        key = (component.task.id, component.level.name, dataset.seed, prompts[p].index, g)
        return keyed_rng("probe", *key).random(sampling.max_new_tokens)

    backend = Native(policy, max(_ROWS, group))
    groups = backend.complete([prompt.encoded for prompt in prompts], group, sampling, uniforms)
    return [
        [(dataset.score_answer(c.text, prompt.example, truncated=c.truncated), len(c.ids)) for c in row]
        for prompt, row in zip(prompts, groups, strict=True)
    ]


def _shares(scores: Sequence[Sequence[Score]]) -> dict[str, Any]:
    """The parts of a row that come from verdicts."""
    flat = [score for row in scores for score in row]
    read = [score for score in flat if score.verdict not in ("unparsed", "truncated")]
    groups = [Outcome.of(0, row, chance=0.0, guess=0.0) for row in scores]  # as a curriculum counts them
    rates = [group.success for group in groups]
    low, high = clustered(rates, len(scores[0]))
    return {
        "success": fmean(rates),
        "low": low,
        "high": high,
        "read_success": fmean(score.verdict == "correct" for score in read) if read else None,
        "unparsed": fmean(score.verdict == "unparsed" for score in flat),
        "truncated": fmean(score.verdict == "truncated" for score in flat),
        "zero_variance": fmean(max(s.value for s in row) == min(s.value for s in row) for row in scores),
        "signal": fmean(group.signal for group in groups),
    }


def clustered(rates: Sequence[float], group: int) -> tuple[float, float]:
    """A 95 % interval for the mean of prompts' success rates, `group` completions each.

    Wilson's, on as many observations as the spread between prompts leaves: from one a prompt (completions of a prompt
    all alike) to all of them (alike in no way). With nothing or everything right there is no spread to go by, and a
    prompt counts once.
    """
    n, p = len(rates), fmean(rates)
    effective = float(n)
    if 0 < p < 1:
        between = variance(rates) / n if n > 1 else 0.0
        effective = min(n * group, max(n, p * (1 - p) / between)) if between > 0 else float(n * group)
    return wilson(p * effective, effective)


def to_json(found: Probe) -> str:
    record = {
        "model": found.model,
        "data": found.data,
        "split": found.split,
        "style": found.style,
        "temperature": found.temperature,
        "seconds": round(found.seconds, 2),
        "rows": [row.to_json() for row in found.rows],
        "advice": [one.to_json() for one in found.advice],
        "hints": found.hints,
        "recipe": found.recipe,
    }
    return json.dumps(record, indent=2, ensure_ascii=False)


def to_text(found: Probe) -> str:
    """The table, what is not served and why, the advice, and the recipe's lines."""
    measured = [row for row in found.rows if not row.why]
    lines: list[Sequence[str]] = [_HEAD, *(_cells(row) for row in measured)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(_HEAD))]
    blocks = []
    if measured:
        blocks.append(
            f"{found.model} on {found.data or 'default data'} ({found.split}): {measured[0].n} prompts a level, "
            f"{measured[0].group} completions each, temperature {found.temperature:g}, reply style {found.style}, "
            f"{found.seconds:.0f} s"
        )
        blocks.append(
            "\n".join(
                "  ".join(
                    cell.ljust(w) if i in (0, len(_HEAD) - 1) else cell.rjust(w)
                    for i, (cell, w) in enumerate(zip(line, widths, strict=True))
                ).rstrip()
                for line in lines
            )
        )
    unserved = [f"  {row.name}: {row.why}" for row in found.rows if row.why]
    if unserved:
        blocks.append("\n".join(["not measured:", *unserved]))
    starts = [
        f"  {one.task}: {f'start at {one.start.level}, ' if one.start else 'nothing to start with, '}{one.why}"
        for one in found.advice
    ]
    blocks.append("\n".join(["advice:", *starts, *(f"  {hint}" for hint in found.hints)]))
    if found.recipe:
        blocks.append(found.recipe)
    return "\n\n".join(blocks)


def _cells(row: Row) -> Sequence[str]:
    return (
        *(row.name, f"{row.success:.3f}", f"{row.low:.3f}-{row.high:.3f}", f"{row.chance:.3g}"),
        "-" if row.read_success is None else f"{row.read_success:.3f}",
        *(f"{row.unparsed:.3f}", f"{row.truncated:.3f}", f"{row.zero_variance:.3f}", f"{row.signal:.3f}", row.status),
    )
