"""When a run is evaluated on held-out items, and the line and the record that come of it."""

from __future__ import annotations

from collections.abc import Callable

from ssl4rl.core.dataset import TaskDataset
from ssl4rl.core.grpo.record.console import Say
from ssl4rl.core.grpo.record.evaluate import Evaluation, evaluate
from ssl4rl.core.grpo.record.run_dir import RunDir
from ssl4rl.core.grpo.trainer import Trainer

BEGINS = {"grpo": "GRPO", "supervised": "supervised steps", "rejection": "rejection sampling"}
"""What the first measurement comes before, by the recipe's `kind`."""


class _LeftOff(Exception):
    """Raised within an evaluation to leave it in the middle."""


def evaluate_if_due(
    run: RunDir,
    trainer: Trainer,
    held_out: TaskDataset,
    say: Say,
    clock: Callable[[], float],
    last: bool,
    stopping: Callable[[], bool] = lambda: False,
) -> bool:
    """Before GRPO, after it (`last`), and every `eval.every` steps between; none twice.

    `stopping`: whether to leave off in the middle, asked between batches; then it is as if it had not begun. Returns
    whether nothing is left to evaluate now.
    """
    recipe, step = trainer.recipe, trainer.step
    done = step - recipe.warmup.steps
    ends = done == 0 or last
    due = ends or (done > 0 and recipe.eval.every and done % recipe.eval.every == 0)
    n = recipe.eval.n if ends else min(recipe.eval.n, recipe.eval.n_during)
    if done < 0 or not due:
        return True
    known = trainer.ranks.first and any(e["step"] == step and e["eval"]["n"] >= n for e in run.evaluations())
    if trainer.ranks.any(known):
        return True
    seconds = clock()
    alone = trainer.ranks.size == 1  # several have not the same number of batches to ask between

    def between() -> None:
        if alone and stopping():
            raise _LeftOff

    try:
        result = run_evaluation(trainer, held_out, n, between, say)
    except _LeftOff:
        return False
    record = {"step": step, "phase": "eval", "eval": result.to_json(), "tasks": result.by_task()}
    run.log({**record, "seconds": seconds, "step_s": round(clock() - seconds, 3)})
    e = result.to_json()
    when = f"before {BEGINS[recipe.kind]}" if done == 0 else f"after {done} steps"
    low, high = e["ci95"]
    say(
        f"held out, {when}: accuracy {e['accuracy']:.3f} (95 % {low:.3f}-{high:.3f}), chance {e['chance']:.3g}, "
        f"unparsed {e['unparsed']:.3f}, n {e['n']}"
    )
    return True


def run_evaluation(
    trainer: Trainer,
    held_out: TaskDataset,
    n: int | None = None,
    between: Callable[[], None] = lambda: None,
    say: Say = lambda line: None,
) -> Evaluation:
    """Evaluates on the first `n` held-out examples (None: all of them) as the recipe says.

    `between`, `say`: `evaluate`'s.
    """
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
        backend=trainer.backend,
        at_once=recipe.train.rollout_rows,
        ranks=trainer.ranks,
        between=between,
        step=trainer.step,
        say=say,
    )
