"""A whole run by the engine its recipe names. Start reading here: `opening` loads and checks everything, `native` (or
`trl.engine`) trains, `record` holds what is said meanwhile and written for later.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ssl4rl.core.grpo.opening import alone, finished
from ssl4rl.core.grpo.ranks import Ranks, open_ranks
from ssl4rl.core.grpo.record.console import Say, silent
from ssl4rl.core.recipe.recipe import Recipe


def train(recipe: Recipe, say: Say = print, bar: bool = True) -> dict[str, Any]:
    """Runs a recipe to its end and returns the summary that is also in summary.json.

    Args:
        recipe: what to do. With `resume`, a finished run's summary is returned as it is.
        say: receives one line at a time of what a person should know.
        bar: whether to show a progress bar.

    Raises:
        Ssl4rlError: anything the user can mend, before any step is run.
        Interrupted: after Ctrl-C, SIGTERM or SIGHUP, once the checkpoint is written (`record.console`).

    Of several processes (`ranks`) all return the summary, and the first one writes, speaks and shows the bar.
    """
    go: Callable[[Recipe, Ranks, str, Say, bool], dict[str, Any]]
    if recipe.engine == "trl":
        from ssl4rl.core.grpo.trl import engine

        engine.check(recipe)
        go = engine.train
    elif recipe.stages:
        from ssl4rl.core.grpo import stages

        go = stages.train
    else:
        from ssl4rl.core.grpo import native

        go = native.train
    with open_ranks(recipe.train.processes, recipe.model.device) as (ranks, device):
        say, bar = say if ranks.first else silent, bar and ranks.first
        summary = finished(recipe, ranks, say)
        if summary is not None:
            return summary
        with alone(recipe, ranks):
            return go(recipe, ranks, device, say, bar)
