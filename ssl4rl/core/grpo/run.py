"""A whole run, from top to bottom: open everything, check it before spending time, train with checkpoints, evaluate.

What a person sees meanwhile is in `console`, what is written for later in `records`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ssl4rl.core.dataset import TaskDataset
from ssl4rl.core.grpo.attention import ATTENTION, COPYING, install
from ssl4rl.core.grpo.console import Progress, Say, introduce, progress_bar, silent, stop_after_step
from ssl4rl.core.grpo.evaluate import Evaluation, evaluate
from ssl4rl.core.grpo.policy import Policy, load_policy
from ssl4rl.core.grpo.prefix import Group, inner_model
from ssl4rl.core.grpo.preflight import preflight, why_not_static
from ssl4rl.core.grpo.pretrained import Lora
from ssl4rl.core.grpo.ranks import Ranks, open_ranks
from ssl4rl.core.grpo.records import Unusable, log_rollouts, summarise
from ssl4rl.core.grpo.run_dir import RunDir, finished_summary
from ssl4rl.core.grpo.stream import check_lengths, encode
from ssl4rl.core.grpo.trainer import Trainer
from ssl4rl.core.grpo.update import autocast
from ssl4rl.core.mixture import Sources, open_recipe
from ssl4rl.core.recipe import Recipe
from ssl4rl.core.types import Ssl4rlError


class Interrupted(KeyboardInterrupt):
    """The user stopped the run; the checkpoint is written and the message says how to go on."""


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
        return _train(recipe, ranks, device, say if ranks.first else silent, bar and ranks.first)


def _train(recipe: Recipe, ranks: Ranks, device: str, say: Say, bar: bool) -> dict[str, Any]:
    summary = finished(recipe, ranks, say)
    if summary is not None:
        return summary
    opened = open_run(recipe, ranks, device, say, _latest)
    run, trainer, data, policy = opened.run, opened.trainer, opened.data, opened.trainer.policy
    if opened.state is not None:
        trainer.restore(opened.state)
    trained = sum(p.numel() for p in trainer.parameters)
    total = sum(p.numel() for p in policy.model.parameters())
    where = f"{policy.device}" if ranks.size == 1 else f"{ranks.size} processes, the first on {policy.device}"
    say(f"{policy.name}: {total:,} parameters, {trained:,} trained, on {where}; prompts up to {opened.longest} tokens")
    started = time.perf_counter() - run.seconds_so_far()
    with stop_after_step(ranks) as stopping, progress_bar(trainer, bar) as progress:
        _loop(run, trainer, data, say, progress, stopping, started)
    run_seconds = time.perf_counter() - started

    def finish() -> dict[str, Any]:
        policy.save(run.final)
        summary = summarise(run, trainer, data.unusable, run_seconds)
        run.write_summary(summary)
        return summary

    return ranks.by_first(finish)


def finished(recipe: Recipe, ranks: Ranks, say: Say) -> dict[str, Any] | None:
    """The summary of a run that is to be resumed and has no step left, which is said; refuses a folder in the way."""
    summary = ranks.by_first(lambda: finished_summary(recipe))
    if summary is not None:
        say(f"{recipe.folder} is finished; nothing to resume")
    return summary


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


Found = tuple[Path, dict[str, Any]]
"""A checkpoint: the folder that its policy loads from, and what was kept beside it ("step", "unusable", ...)."""


@dataclass
class Opened:
    """A run about to begin or to go on, in either engine: all of it loaded and checked, and its folder made.

    `longest`: tokens of the longest prompt looked at. `checkpoint` and `state`: those to go on from, None for a new
    run; the trainer's step and optimiser are left to the engine that wrote them.
    """

    run: RunDir
    data: Data
    trainer: Trainer
    longest: int
    checkpoint: Path | None
    state: dict[str, Any] | None


def open_run(
    recipe: Recipe, ranks: Ranks, device: str, say: Say, latest: Callable[[RunDir, Ranks], Found | None]
) -> Opened:
    """Loads and checks everything before time is spent. `latest` finds the engine's checkpoint to go on from.

    Raises:
        Ssl4rlError: anything the user can mend, before the folder is made.
    """
    run = RunDir(recipe, writes=ranks.first)
    if recipe.train.threads:
        torch.set_num_threads(recipe.train.threads)
    data = open_data(recipe)
    checkpoint, state = (latest(run, ranks) if recipe.resume else None) or (None, None)
    policy = load(recipe, str(checkpoint) if checkpoint else None, device)
    longest = check_lengths(data.train, policy.encoder, recipe.prompt.max_tokens)
    attention, static = ranks.by_first(lambda: fast_ways(policy, data.train, recipe.train.cuda_graphs, say))
    if attention is not None:
        install(inner_model(policy.model), attention)  # the first rank alone has found it out
    shared = attention is not None
    trainer = Trainer(recipe, policy, data.train, shared=shared, static=static, ranks=ranks)
    ranks.share_weights(trainer.parameters)
    run.open()
    if state is not None:
        data.unusable.restore(state["unusable"])
        say(f"resuming {run.folder} after step {state['step']}")
    return Opened(run, data, trainer, longest, checkpoint, state)


def _latest(run: RunDir, ranks: Ranks) -> Found | None:
    """The first rank looks before the others: it cuts the logs back."""
    found = run.latest() if ranks.first else None
    ranks.by_first(lambda: None)
    return found if ranks.first else run.latest()


def load(recipe: Recipe, checkpoint: str | None, device: str | None = None) -> Policy:
    """The recipe's model with what is trained of it, or a checkpoint's in its place; `device` None is the recipe's."""
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


def fast_ways(policy: Policy, dataset: TaskDataset, cuda_graphs: bool, say: Say) -> tuple[str | None, bool]:
    """With which attention completions may share their prompt on this model, and whether steps of one shape decode it.

    None and False are said in one loud line, the latter where `cuda_graphs` asked for it. Structure decides first, then
    numbers in the precision of training, whose kernels are others than float32's.
    """
    groups = []
    # one of each task, for some may show pictures and others none; two at least
    first = {c.task.id: i for i, c in reversed(list(enumerate(dataset.components)))}
    for index, component in enumerate((*first.values(), 0)[: max(2, len(first))]):
        prompt = encode(dataset, policy.encoder, index, component)
        verifier = dataset.component_of(prompt.example).verifier
        full = policy.tokens(verifier.complete(prompt.example.answer, dataset.style))
        groups.append(Group(prompt.encoded.prompt_ids, prompt.encoded.media, [full, full[:2], full[:-1]]))
    with autocast(policy):
        result = preflight(policy.model, groups)
        wrong = why_not_static(policy.model, groups) if cuda_graphs and result.ok else None
    if not result.ok:
        say(f"WARNING shared prompts: OFF, training runs unshared and slower: {result.reason}")
        if cuda_graphs:
            say("WARNING train.cuda_graphs: OFF, for it samples with shared prompts")
        return None, False
    say(f"shared prompts: on (log-probs agree to {result.logp_difference:.0e})")
    if result.reason:
        say(f"WARNING prompts' keys are copied for every completion, which takes memory: {result.reason}")
    if wrong is not None:
        say(f"WARNING train.cuda_graphs: OFF, sampling launches kernel by kernel: {wrong}")
    return COPYING if result.reason else ATTENTION, cuda_graphs and wrong is None


def _loop(
    run: RunDir,
    trainer: Trainer,
    data: Data,
    say: Say,
    progress: Progress,
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
        if recipe.train.keep_start and trainer.step == recipe.warmup.steps:
            run.save_start(trainer.policy)
        evaluate_if_due(run, trainer, data, say, clock, last)
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


def _step(run: RunDir, trainer: Trainer, data: Data, say: Say, progress: Progress, clock: Callable[[], float]) -> None:
    """One step and its lines in the logs."""
    metrics, rollouts = trainer.run_step()
    run.log({**metrics, "seconds": clock()})
    if rollouts is not None:
        if trainer.step == trainer.recipe.warmup.steps + 1:
            introduce(trainer, rollouts, say)
        log_rollouts(run, trainer, rollouts)
        if rollouts.used == []:
            say(f"step {trainer.step}: none of {len(rollouts.prompts)} groups has variance, so no policy gradient")
        for prompt in rollouts.prompts:
            data.unusable.add_draws(prompt.example)
    progress(metrics)


def evaluate_if_due(
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
    known = trainer.ranks.first and any(e["step"] == step and e["eval"]["n"] >= n for e in run.evaluations())
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
        static=trainer.static,
        ranks=trainer.ranks,
    )
