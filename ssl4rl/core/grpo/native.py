"""Engine `native`: our loop, from an opened run to its summary: steps, checkpoints, evaluations."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from ssl4rl.core.grpo.opening import Data, Found, open_run
from ssl4rl.core.grpo.ranks import Ranks
from ssl4rl.core.grpo.record.checkpoint import read_state
from ssl4rl.core.grpo.record.console import Progress, Say, Stopping, introduce, progress_bar, stop_after_step
from ssl4rl.core.grpo.record.held_out import evaluate_if_due
from ssl4rl.core.grpo.record.records import card, log_rollouts, show_rollouts, summarise
from ssl4rl.core.grpo.record.run_dir import RunDir
from ssl4rl.core.grpo.room import OutOfRoom, Shortage
from ssl4rl.core.grpo.trainer import Trainer
from ssl4rl.core.recipe.recipe import Recipe


def train(recipe: Recipe, ranks: Ranks, device: str, say: Say, bar: bool, start: Path | None = None) -> dict[str, Any]:
    """`run.train` once the processes stand and the folder is this run's alone. `start`: weights to begin with, in place
    of the recipe's model."""
    opened = open_run(recipe, ranks, device, say, _latest, start)
    run, trainer, data, policy = opened.run, opened.trainer, opened.data, opened.trainer.policy
    if opened.state is not None:
        trainer.restore(opened.state)
    trained = sum(p.numel() for p in trainer.learner.parameters)
    total = sum(p.numel() for p in policy.model.parameters())
    where = f"{policy.device}" if ranks.size == 1 else f"{ranks.size} processes, the first on {policy.device}"
    say(f"{policy.name}: {total:,} parameters, {trained:,} trained, on {where}; prompts up to {opened.longest} tokens")
    started = time.perf_counter() - run.seconds_so_far()
    with (
        closing(run),
        closing(trainer.stream),
        closing(trainer.backend),
        stop_after_step(ranks) as stopping,
        progress_bar(trainer, bar, say) as progress,
    ):
        _loop(run, trainer, data, say, progress, stopping, started)
    run_seconds = time.perf_counter() - started

    def finish() -> dict[str, Any]:
        summary = summarise(run, trainer, data.unusable, run_seconds) | {"changed_data": data.changes}
        run.save_final(policy, card(run, trainer, summary))
        run.write_summary(summary)
        return summary

    return ranks.by_first(finish)


def _latest(run: RunDir, ranks: Ranks) -> Found | None:
    """The first rank looks before the others: it cuts the logs back, and sets damaged checkpoints aside."""
    mine: list[tuple[Path, dict[str, Any]]] = []

    def look() -> Path | None:
        found = run.last_good()
        mine.extend([found] if found else [])
        return found[0] if found else None

    folder = ranks.by_first(look)
    if folder is None:
        return None
    return folder / "policy", mine[0][1] if mine else read_state(folder)


def _loop(
    run: RunDir,
    trainer: Trainer,
    data: Data,
    say: Say,
    progress: Progress,
    stopping: Stopping,
    started: float,
) -> None:
    recipe, ranks = trainer.recipe, trainer.ranks

    def clock() -> float:
        return round(time.perf_counter() - started, 3)

    def checkpoint() -> None:
        if trainer.untouched:
            state = {**trainer.state(), **data.state()}
            run.save(trainer.step, trainer.policy, state, recipe.train.keep_checkpoints)

    def short(shortage: Shortage) -> None:
        checkpoint()
        say(str(shortage))

    trainer.on_shortage = short

    def too_late() -> bool:
        limit = recipe.train.max_seconds
        return limit is not None and ranks.any(ranks.first and clock() > limit)

    while True:
        late = too_late()
        # the warm-up is always finished: without it there is nothing to evaluate
        last = trainer.step >= trainer.total_steps or (late and not trainer.warming_up)
        if recipe.train.keep_start and trainer.step == recipe.warmup.steps:
            run.save_start(trainer.policy)
        try:
            whole = evaluate_if_due(run, trainer, data.held_out, say, clock, last, stopping)
            if last and whole:
                break
            if not stopping():  # else it was asked for during the evaluation
                _step(run, trainer, data, say, progress, clock)
        except OutOfRoom:
            if trainer.step:
                checkpoint()
            raise
        stop = stopping()
        bad = trainer.bad_steps >= recipe.optim.max_bad_steps
        if stop or bad or trainer.step % recipe.train.checkpoint_every == 0:
            checkpoint()
        trainer.check_bad_steps()
        if stop:
            raise stopping.interrupted(f"stopped after step {trainer.step} of {trainer.total_steps}")


def _step(run: RunDir, trainer: Trainer, data: Data, say: Say, progress: Progress, clock: Callable[[], float]) -> None:
    """One step and its lines in the logs."""
    metrics, rollouts = trainer.run_step()
    run.log({**metrics, "seconds": clock()})
    if "skipped" in metrics:
        keys = metrics["skipped_keys"]
        prompts = f"; its prompts: {keys[0]} and {len(keys) - 1} more, in metrics.jsonl" if keys else ""
        say(f"step {trainer.step}: the gradient is not finite, so the weights are left as they are{prompts}")
    if rollouts is not None:
        if trainer.step == trainer.recipe.warmup.steps + 1:
            introduce(trainer, rollouts, say)
        log_rollouts(run, trainer, rollouts)
        show_rollouts(run, trainer, rollouts)
        for line in trainer.rewards.news():
            say(f"WARNING {line}")
        if metrics.get("kept") == 0:
            of = len(rollouts.prompts) * trainer.recipe.grpo.group_size
            say(f"step {trainer.step}: none of {of} completions was kept, so the weights are left as they are")
        if rollouts.used == []:
            say(f"step {trainer.step}: none of {len(rollouts.prompts)} groups has variance, so no policy gradient")
        for prompt in rollouts.prompts:
            data.unusable.add_draws(prompt.example)
    progress(metrics)
