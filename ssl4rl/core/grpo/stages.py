"""A run of several stages: each is a run of its own in stages/NN_name/, by the same engine, from the last one's final/.

So a stage is resumed, measured and repaired as any run is, and a stage begins from the same files whether the one
before it ended a moment or a week ago.
"""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ssl4rl.core.curriculum import open_curriculum
from ssl4rl.core.grpo import native
from ssl4rl.core.grpo.opening import finished, open_data, prepare
from ssl4rl.core.grpo.ranks import Ranks
from ssl4rl.core.grpo.record.card import model_card
from ssl4rl.core.grpo.record.console import Interrupted, Say, silent
from ssl4rl.core.grpo.record.loggers import check_loggers
from ssl4rl.core.grpo.record.run_dir import RunDir
from ssl4rl.core.grpo.stream import check_lengths
from ssl4rl.core.grpo.trainer import rewards_of
from ssl4rl.core.recipe.recipe import Recipe
from ssl4rl.core.recipe.stages import STAGES
from ssl4rl.core.types import Ssl4rlError


def train(recipe: Recipe, ranks: Ranks, device: str, say: Say, bar: bool) -> dict[str, Any]:
    """`run.train` of a recipe with stages, once the processes stand and the folder is this run's alone."""
    run, stages = RunDir(recipe, writes=ranks.first), recipe.stage_recipes()
    licences = ranks.by_first(lambda: _check(stages[: len(recipe.stages)]))
    run.open()
    for note in run.notes:
        say(f"{run.folder}: {note}")
    summaries: list[dict[str, Any]] = []
    start: Path | None = None
    for i, stage in enumerate(stages):
        where = f"stage {i + 1} of {len(stages)}, {stage.name}"
        summary = finished(stage, ranks, silent) if recipe.resume else None
        if summary is None:
            say(f"{where}: {stage.kind}, {stage.train.steps} steps")
            try:
                summary = native.train(stage, ranks, device, say, bar, start)
            except Interrupted as stop:
                raise Interrupted(f"{where}: {stop}", stop.status - 128) from None
            gc.collect()  # the stage's model, before the next one's is loaded
        summaries.append(summary)
        start = stage.folder / "final"

    def finish() -> dict[str, Any]:
        final = stages[-1].folder / "final"
        summary = together(recipe, stages, summaries)
        adapter = (final / "adapter_config.json").is_file()
        run.link_final(final, model_card(summary, recipe.dump(), licences, adapter))
        run.write_summary(summary)
        return summary

    return ranks.by_first(finish)


def _check(stages: Sequence[Recipe]) -> dict[str, str]:
    """What can be wrong in a stage is found before the first one trains: names, data, rewards, prompts' lengths.

    Returns the licence of each source by its URI.

    Raises:
        Ssl4rlError: the first thing that is, with its stage.
    """
    encoders: dict[str | None, Any] = {}
    licences: dict[str, str] = {}
    for i, stage in enumerate(stages):
        try:
            data = open_data(stage)
            licences.update({source.uri: source.licence for source in data.sources})
            rewards_of(stage, data.train)
            check_loggers(stage.train.log_to)
            open_curriculum(stage.curriculum, data.train, stage.train.steps)
            if stage.prompt.system not in encoders:
                encoders[stage.prompt.system] = prepare(stage, None).encoder
            check_lengths(data.train, encoders[stage.prompt.system], stage.prompt.max_tokens)
        except Ssl4rlError as error:
            raise Ssl4rlError(f"stages.{i} ({stage.name}): {error}") from None
    return licences


def together(recipe: Recipe, stages: Sequence[Recipe], summaries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The run's summary from those of its stages. "after" is measured at the end of the last stage, on its held-out
    items; "before" on the same ones as early as they were measured. `tasks`: each task's first and last figures."""
    last = summaries[-1]
    same = [one for one in summaries if _measured(one) == _measured(last)]
    tasks: dict[str, dict[str, Any]] = {}
    for name, figures in ((name, figures) for one in summaries for name, figures in one["tasks"].items()):
        known = tasks.setdefault(name, {"before": figures["before"]})
        known["after"] = figures["after"]
    reasons: Counter[str] = Counter()
    for one in summaries:
        reasons.update(one["unusable"]["reasons"])
    named = [line for one in summaries for line in one["unusable"]["named"]]
    return {
        **{key: value for key, value in last.items() if key not in ("kind", "preflight", "shared_prompts")},
        "name": recipe.name,
        "task": ", ".join(dict.fromkeys(part for one in summaries for part in one["task"].split(", "))),
        "data": sorted({uri for one in summaries for uri in one["data"]}),
        "seconds": round(sum(one["seconds"] for one in summaries), 1),
        "steps": sum(one["steps"] for one in summaries),
        "warmup_steps": sum(one["warmup_steps"] for one in summaries),
        "seed": recipe.train.seed,
        "before": same[0]["before"],
        "after": last["after"],
        "tasks": tasks,
        "unusable": {"reasons": dict(reasons.most_common()), "named": list(dict.fromkeys(named))},
        "too_long": sum(one["too_long"] for one in summaries),
        "out_of_memory": [line for one in summaries for line in one["out_of_memory"]],
        "changed_data": [line for one in summaries for line in one["changed_data"]],
        "stages": [
            {
                "name": stage.name,
                "kind": stage.kind,
                "folder": f"{STAGES}/{stage.name}",
                **{key: one[key] for key in ("task", "steps", "warmup_steps", "seconds", "before", "after", "tasks")},
            }
            for stage, one in zip(stages, summaries, strict=True)
        ],
    }


def _measured(summary: Mapping[str, Any]) -> tuple[list[str], int]:
    """What a summary's figures were measured on."""
    return sorted(summary["tasks"]), summary["after"]["n"]
