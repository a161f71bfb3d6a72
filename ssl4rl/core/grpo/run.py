"""A whole run by the engine its recipe names. Start reading here: `opening` loads and checks everything, `native` (or
`trl.engine`) trains, `record` holds what is said meanwhile and written for later.
"""

from __future__ import annotations

from typing import Any

from ssl4rl.core.grpo.record.console import Say
from ssl4rl.core.recipe import Recipe


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
    if recipe.engine == "trl":
        from ssl4rl.core.grpo.trl.engine import train_with_trl

        return train_with_trl(recipe, say, bar)
    from ssl4rl.core.grpo.native import train_natively

    return train_natively(recipe, say, bar)
