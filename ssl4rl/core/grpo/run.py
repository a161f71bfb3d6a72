"""A whole run: open everything, check it before spending time, train with checkpoints, evaluate, summarise."""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from ssl4rl.core.dataset import TaskDataset
from ssl4rl.core.grpo.evaluate import Evaluation, evaluate
from ssl4rl.core.grpo.policy import Policy, load_policy
from ssl4rl.core.grpo.prefix import Group
from ssl4rl.core.grpo.preflight import preflight
from ssl4rl.core.grpo.pretrained import Lora
from ssl4rl.core.grpo.ranks import Ranks, open_ranks
from ssl4rl.core.grpo.run_dir import RunDir
from ssl4rl.core.grpo.sampled import Rollouts
from ssl4rl.core.grpo.stream import check_lengths, encode
from ssl4rl.core.grpo.trainer import Trainer
from ssl4rl.core.mixture import Sources, open_recipe
from ssl4rl.core.recipe import Recipe
from ssl4rl.core.types import Example, Ssl4rlError

Say = Callable[[str], None]
_PACKAGES = ("ssl4rl", "torch", "transformers", "peft", "accelerate", "trl", "pillow", "numpy")
_NAMED_PROBLEMS = 20
_ECHO_S = 5.0


class Interrupted(KeyboardInterrupt):
    """The user stopped the run; the checkpoint is written and the message says how to go on."""


@dataclass
class Unusable:
    """What could not be used, by reason, with some names."""

    reasons: Counter[str] = field(default_factory=Counter)
    named: list[str] = field(default_factory=list)

    def add(self, name: str, why: str, items: int = 1) -> None:
        self.reasons[why] += items
        line = f"{name}: {why}"
        if len(self.named) < _NAMED_PROBLEMS and line not in self.named:
            self.named.append(line)

    def add_draws(self, example: Example) -> None:
        for draw in example.meta.get("rejected", ()):
            self.reasons[draw["why"]] += 1

    def to_json(self) -> dict[str, Any]:
        return {"reasons": dict(self.reasons.most_common()), "named": self.named}

    def restore(self, record: dict[str, Any]) -> None:
        """Goes on counting from what `to_json` said."""
        self.reasons, self.named = Counter(record["reasons"]), list(record["named"])


@dataclass
class Data:
    """The training examples, the held-out ones, and what could not be used."""

    train: TaskDataset
    held_out: TaskDataset
    unusable: Unusable


def open_data(recipe: Recipe) -> Data:
    """Opens the recipe's mixture on both parts of its sources.

    Raises:
        Ssl4rlError: a part has fewer than `min_items` different items, or anything a name can be wrong in.
    """
    sources = Sources()
    train, held_out = open_recipe(recipe, sources)
    unusable = Unusable()
    for source in sources:
        for problem in source.problems:
            unusable.add(problem.name, problem.why)
    for component in (*train.components, *held_out.components):
        split = component.split
        if len(split) < recipe.min_items:
            bad = split.source.problems
            raise Ssl4rlError(
                f"{split.source.uri}: the {split.part} part has {len(split)} usable items, at least "
                f"min_items={recipe.min_items} are needed"
                + (f" ({len(bad)} could not be used, first {bad[0].name}: {bad[0].why})" if bad else "")
            )
    return Data(train, held_out, unusable)


def train(recipe: Recipe, say: Say = print, bar: bool = True) -> dict[str, Any]:
    """Runs a recipe to its end and returns the summary that is also in summary.json.

    Args:
        recipe: what to do. With `resume`, a finished run's summary is returned as it is.
        say: receives one line at a time of what a person should know.
        bar: whether to show a progress bar.

    Raises:
        Ssl4rlError: anything the user can mend, before any step is run.
        Interrupted: after Ctrl-C, once the checkpoint is written.

    Of several processes (`ranks`) all return the summary, and the first one writes, speaks and shows the bar.
    """
    if recipe.engine == "trl":
        from ssl4rl.core.grpo.trl_engine import train_with_trl

        return train_with_trl(recipe, say, bar)
    with open_ranks(recipe.train.processes, recipe.model.device) as (ranks, device):
        return _train(recipe, ranks, device, say if ranks.first else _silent, bar and ranks.first)


def _silent(line: str) -> None:
    pass


def _finished(recipe: Recipe) -> dict[str, Any] | None:
    """The summary of a run that is to be resumed and has no step left; refuses a folder that is in the way."""
    run = RunDir(recipe)
    return run.finished() if recipe.resume else None


def _latest(run: RunDir, recipe: Recipe, ranks: Ranks) -> tuple[Path, dict[str, Any]] | None:
    """The checkpoint to go on from. The first rank looks before the others: it cuts the logs back."""
    if not recipe.resume:
        return None
    found = run.latest() if ranks.first else None
    ranks.by_first(lambda: None)
    return found if ranks.first else run.latest()


def _train(recipe: Recipe, ranks: Ranks, device: str, say: Say, bar: bool) -> dict[str, Any]:
    summary = ranks.by_first(lambda: _finished(recipe))
    run = RunDir(recipe, writes=ranks.first)
    if summary is not None:
        say(f"{run.folder} is finished; nothing to resume")
        return summary
    if recipe.train.threads:
        torch.set_num_threads(recipe.train.threads)
    data = open_data(recipe)
    found = _latest(run, recipe, ranks)
    policy = _load(recipe, str(found[0]) if found else None, device)
    longest = check_lengths(data.train, policy.encoder, recipe.prompt.max_tokens)
    shared = ranks.by_first(lambda: _may_share(policy, data.train, say))
    trainer = Trainer(recipe, policy, data.train, shared=shared, ranks=ranks)
    ranks.share_weights(trainer.parameters)
    run.open()
    if found:
        trainer.restore(found[1])
        data.unusable.restore(found[1]["unusable"])
        say(f"resuming {run.folder} after step {trainer.step}")
    trained = sum(p.numel() for p in trainer.parameters)
    total = sum(p.numel() for p in policy.model.parameters())
    where = f"{policy.device}" if ranks.size == 1 else f"{ranks.size} processes, the first on {policy.device}"
    say(f"{policy.name}: {total:,} parameters, {trained:,} trained, on {where}; prompts up to {longest} tokens")
    started = time.perf_counter() - _seconds_so_far(run)
    with _stop_after_step(ranks) as stopping, _progress(trainer, bar) as progress:
        _loop(run, trainer, data, say, progress, stopping, started)
    run_seconds = time.perf_counter() - started

    def finish() -> dict[str, Any]:
        policy.save(run.final)
        summary = _summarise(run, trainer, data, run_seconds)
        run.write_summary(summary)
        return summary

    return ranks.by_first(finish)


def _load(recipe: Recipe, checkpoint: str | None, device: str | None = None) -> Policy:
    model = recipe.model
    return load_policy(
        checkpoint or model.path,
        name=model.path,
        lora=Lora(**model.lora.model_dump(), seed=recipe.train.seed) if model.lora else None,
        freeze_vision=model.freeze_vision,
        gradient_checkpointing=model.gradient_checkpointing,
        attention=model.attention,
        dtype=model.dtype,
        device=device or model.device,
        system=recipe.prompt.system,
        options=model.processor,
    )


def _may_share(policy: Policy, dataset: TaskDataset, say: Say) -> bool:
    """Whether completions may share their prompt on this model: structure first, then numbers, else one loud line."""
    groups = []
    # one of each task, for some may show pictures and others none; two at least
    first = {c.task.id: i for i, c in reversed(list(enumerate(dataset.components)))}
    for index, component in enumerate((*first.values(), 0)[: max(2, len(first))]):
        prompt = encode(dataset, policy.encoder, index, component)
        verifier = dataset.component_of(prompt.example).verifier
        full = policy.tokens(verifier.complete(prompt.example.answer, dataset.style))
        groups.append(Group(prompt.encoded.prompt_ids, prompt.encoded.media, [full, full[:2], full[:-1]]))
    result = preflight(policy.model, groups)
    if result.ok:
        say(f"shared prompts: on (log-probs agree to {result.logp_difference:.0e})")
    else:
        say(f"WARNING shared prompts: OFF, training runs unshared and slower: {result.reason}")
    return result.ok


def _loop(
    run: RunDir,
    trainer: Trainer,
    data: Data,
    say: Say,
    progress: Any,
    stopping: Callable[[], bool],
    started: float,
) -> None:
    recipe, ranks = trainer.recipe, trainer.ranks

    def clock() -> float:
        return round(time.perf_counter() - started, 3)

    def too_late() -> bool:
        limit = recipe.train.max_seconds
        return limit is not None and ranks.any(ranks.first and clock() > limit)

    while True:
        late = too_late()
        # the warm-up is always finished: without it there is nothing to evaluate
        last = trainer.step >= trainer.total_steps or (late and not trainer.warming_up)
        _evaluate_if_due(run, trainer, data, say, clock, last)
        if last:
            break
        if not stopping():  # else it was asked for during the evaluation
            _step(run, trainer, data, say, progress, clock)
        stop = stopping()
        if stop or trainer.step % recipe.train.checkpoint_every == 0:
            state = {**trainer.state(), "unusable": data.unusable.to_json()}
            run.save(trainer.step, trainer.policy, state, recipe.train.keep_checkpoints)
        if stop:
            raise Interrupted(
                f"stopped after step {trainer.step} of {trainer.total_steps}; resume=true goes on from here"
            )


def _step(run: RunDir, trainer: Trainer, data: Data, say: Say, progress: Any, clock: Callable[[], float]) -> None:
    """One step and its lines in the logs."""
    metrics, rollouts = trainer.run_step()
    run.log({**metrics, "seconds": clock()})
    if rollouts is not None:
        if trainer.step == trainer.recipe.warmup.steps + 1:
            _introduce(trainer, rollouts, say)
        _log_rollouts(run, trainer, rollouts)
        if rollouts.used == []:
            say(f"step {trainer.step}: none of {len(rollouts.prompts)} groups has variance, so no policy gradient")
        for prompt in rollouts.prompts:
            data.unusable.add_draws(prompt.example)
    progress(metrics)


def _evaluate_if_due(
    run: RunDir, trainer: Trainer, data: Data, say: Say, clock: Callable[[], float], last: bool
) -> None:
    """Before GRPO, after it (`last`), and every `eval.every` steps between; none twice."""
    recipe, step = trainer.recipe, trainer.step
    done = step - recipe.warmup.steps
    ends = done == 0 or last
    due = ends or (done > 0 and recipe.eval.every and done % recipe.eval.every == 0)
    n = recipe.eval.n if ends else min(recipe.eval.n, recipe.eval.n_during)
    if done < 0 or not due:
        return
    known = trainer.ranks.first and any(e["step"] == step and e["eval"]["n"] >= n for e in evaluations(run))
    if trainer.ranks.any(known):
        return
    seconds = clock()
    result = run_evaluation(trainer, data.held_out, n)
    record = {"step": step, "phase": "eval", "eval": result.to_json(), "tasks": result.by_task()}
    run.log({**record, "seconds": seconds, "step_s": round(clock() - seconds, 3)})
    e = result.to_json()
    when = "before GRPO" if done == 0 else f"after {done} steps"
    low, high = e["ci95"]
    say(
        f"held out, {when}: accuracy {e['accuracy']:.3f} (95 % {low:.3f}-{high:.3f}), chance {e['chance']:.3g}, "
        f"unparsed {e['unparsed']:.3f}, n {e['n']}"
    )


def run_evaluation(trainer: Trainer, held_out: TaskDataset, n: int | None = None) -> Evaluation:
    """Evaluates on the first `n` held-out examples (None: all of them) as the recipe says."""
    recipe = trainer.recipe
    part = held_out
    if n is not None and held_out.size is not None and n < held_out.size:
        part = TaskDataset(held_out.components, held_out.seed, n, held_out.style)
    return evaluate(
        trainer.policy,
        part,
        max_new_tokens=recipe.sampling.max_new_tokens,
        temperature=recipe.eval.temperature,
        workers=recipe.train.workers,
        max_rows=recipe.train.rollout_rows,
        shared=trainer.shared,
        ranks=trainer.ranks,
    )


def evaluations(run: RunDir) -> list[dict[str, Any]]:
    """The evaluation lines of the metrics log, in order."""
    return [record for record in run.read_metrics() if record["phase"] == "eval"]


def _introduce(trainer: Trainer, rollouts: Rollouts, say: Say) -> None:
    """At the first GRPO step: one prompt, one completion, its verdict, and whether there is anything to learn from."""
    prompt, completion, score = rollouts.prompts[0], rollouts.completions[0][0], rollouts.scores[0][0]
    text = trainer.policy.encoder.render(prompt.example, trainer.dataset.ask(prompt.example))
    say("first prompt:     " + text.replace("\n", "\n                  "))
    say(f"first completion: {completion.text!r}")
    chance = trainer.dataset.chance(prompt.example)
    detail = f"answer {prompt.example.answer!r}, parsed {score.parsed!r}, chance {chance:.3f}"
    say(f"verdict:          {score.verdict} ({detail})")
    rewards = rollouts.reward_PG
    if float(rewards.max() - rewards.min()) < 1e-6:
        unparsed = rollouts.share("unparsed", "truncated")
        say(
            f"WARNING every completion of the first step earned {float(rewards[0, 0]):.2f}: no gradient. "
            f"{unparsed:.0%} were unparsed or truncated; a format warm-up (warmup.steps) or an easier level may help"
        )


def _log_rollouts(run: RunDir, trainer: Trainer, rollouts: Rollouts) -> None:
    for p in range(min(trainer.recipe.train.log_rollouts, len(rollouts.prompts))):
        example = rollouts.prompts[p].example
        completions = [
            {
                "text": completion.text,
                "verdict": score.verdict,
                "reward": round(float(rollouts.reward_PG[p, g]), 6),
                "tokens": len(completion.ids),
            }
            for g, (completion, score) in enumerate(zip(rollouts.completions[p], rollouts.scores[p], strict=True))
        ]
        key = example.key.to_json() if example.key else None
        run.log_rollout({"step": trainer.step, "key": key, "answer": example.answer, "completions": completions})


@contextmanager
def _stop_after_step(ranks: Ranks) -> Iterator[Callable[[], bool]]:
    """Ctrl-C on any rank asks to stop after the step in progress; a second one stops at once.

    A launcher passes on the Ctrl-C that a terminal has sent to its processes already: that one does not count.
    """
    asked: list[float] = []

    def ask(number: int, frame: Any) -> None:
        if asked and (ranks.size == 1 or time.monotonic() > asked[0] + _ECHO_S):
            raise KeyboardInterrupt
        asked.append(time.monotonic())

    try:
        before = signal.signal(signal.SIGINT, ask)
    except ValueError:  # not the main thread: nobody can press Ctrl-C here
        yield lambda: ranks.any(False)
        return
    try:
        yield lambda: ranks.any(bool(asked))
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _progress(trainer: Trainer, show: bool) -> Iterator[Callable[[dict[str, Any]], None]]:
    from tqdm import tqdm

    with tqdm(
        total=trainer.total_steps, initial=trainer.step, disable=not show, unit="step", dynamic_ncols=True
    ) as bar:

        def update(metrics: dict[str, Any]) -> None:
            if metrics["phase"] == "warmup":
                bar.set_description_str("format warm-up")
                bar.set_postfix_str(f"loss {metrics['loss']:.3f}", refresh=False)
            else:
                bar.set_description_str("GRPO")
                bar.set_postfix_str(
                    f"reward {metrics['reward']:.2f} acc {metrics['accuracy']:.2f} (chance {metrics['chance']:.2f}) "
                    f"format {metrics['format']:.2f} zero-var {metrics['zero_variance']:.2f} "
                    f"{_refill_text(metrics)}"
                    f"{metrics['tokens_per_s']:.0f} tok/s",
                    refresh=False,
                )
            bar.update()

        yield update


def _refill_text(metrics: dict[str, Any]) -> str:
    return f"groups {metrics['groups']} of {metrics['sampled']} sampled " if "groups" in metrics else ""


def _seconds_so_far(run: RunDir) -> float:
    return float(max((record["seconds"] for record in run.read_metrics()), default=0.0))


def _summarise(run: RunDir, trainer: Trainer, data: Data, seconds: float) -> dict[str, Any]:
    recipe = trainer.recipe
    evals = evaluations(run)
    before, after = evals[0], evals[-1]
    names = list(after["tasks"])
    return {
        "name": recipe.name,
        "task": ", ".join(f"{c.task.id}[{c.level.name}]" for c in data.train.components),
        "data": sorted({c.split.source.uri for c in data.train.components}),
        "model": recipe.model.path,
        "engine": recipe.engine,
        "shared_prompts": trainer.shared,
        "seconds": round(seconds, 1),
        "steps": trainer.step - recipe.warmup.steps,
        "warmup_steps": recipe.warmup.steps,
        "seed": recipe.train.seed,
        "before": before["eval"],
        "after": after["eval"],
        "tasks": {name: {"before": before["tasks"].get(name), "after": after["tasks"][name]} for name in names},
        "unusable": data.unusable.to_json(),
        "too_long": trainer.stream.too_long,
        "versions": _versions(),
    }


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
