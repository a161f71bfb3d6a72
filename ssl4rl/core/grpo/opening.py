"""Opens a run for either engine: data, model, what of the fast ways this model allows, the trainer and the folder.

Here the recipe is taken apart: each room is given its own section. Everything a user can have got wrong is found here,
before time is spent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ssl4rl.core.dataset import TaskDataset
from ssl4rl.core.grpo.logps.attention import install
from ssl4rl.core.grpo.logps.prefix import inner_model
from ssl4rl.core.grpo.model.policy import Policy, load_policy
from ssl4rl.core.grpo.model.pretrained import Lora
from ssl4rl.core.grpo.preflight import fast_ways
from ssl4rl.core.grpo.ranks import Ranks
from ssl4rl.core.grpo.record.console import Say
from ssl4rl.core.grpo.record.lock import locked
from ssl4rl.core.grpo.record.records import Unusable
from ssl4rl.core.grpo.record.run_dir import RunDir, finished_summary
from ssl4rl.core.grpo.sampling.backend import Native
from ssl4rl.core.grpo.stream import check_lengths
from ssl4rl.core.grpo.trainer import Trainer
from ssl4rl.core.mixture import Sources, open_recipe
from ssl4rl.core.recipe import Recipe
from ssl4rl.core.types import Ssl4rlError


def finished(recipe: Recipe, ranks: Ranks, say: Say) -> dict[str, Any] | None:
    """The summary of a run that is to be resumed and has no step left, which is said; refuses a folder in the way."""
    summary, notes = ranks.by_first(lambda: finished_summary(recipe))
    for note in notes:
        say(f"{recipe.folder}: {note}")
    if summary is not None:
        say(f"{recipe.folder} is finished; nothing to resume")
    return summary


@contextmanager
def alone(recipe: Recipe, ranks: Ranks) -> Iterator[None]:
    """Within this no other run trains in the recipe's folder; the ranks of this one do.

    Raises:
        Ssl4rlError: another does, or the folder cannot be written to.
    """
    with ExitStack() as stack:
        ranks.by_first(lambda: stack.enter_context(locked(recipe.folder)))
        yield


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
    backend = Native(policy, recipe.train.rollout_rows, shared, static)
    trainer = Trainer(recipe, policy, data.train, shared=shared, backend=backend, ranks=ranks)
    ranks.share_weights(trainer.learner.parameters)
    run.open()
    for note in run.notes:
        say(f"{run.folder}: {note}")
    if state is not None:
        data.unusable.restore(state["unusable"])
        say(f"resuming {run.folder} after step {state['step']}")
    return Opened(run, data, trainer, longest, checkpoint, state)


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
