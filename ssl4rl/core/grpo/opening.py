"""Opens a run for either engine: data, model, what of the fast ways this model allows, the trainer and the folder.

Here the recipe is taken apart: each room is given its own section. Everything a user can have got wrong is found here,
before time is spent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ssl4rl.core.curriculum import open_curriculum
from ssl4rl.core.dataset import TaskDataset
from ssl4rl.core.grpo.logps.attention import install
from ssl4rl.core.grpo.logps.prefix import inner_model
from ssl4rl.core.grpo.model.policy import Policy, Prepared, load_policy, prepare_encoder
from ssl4rl.core.grpo.model.pretrained import Lora
from ssl4rl.core.grpo.preflight import Ways, fast_ways, kept_ways
from ssl4rl.core.grpo.ranks import Ranks
from ssl4rl.core.grpo.record.console import Say
from ssl4rl.core.grpo.record.data_seen import data_seen, differences
from ssl4rl.core.grpo.record.lock import locked
from ssl4rl.core.grpo.record.loggers import check_loggers
from ssl4rl.core.grpo.record.records import Unusable
from ssl4rl.core.grpo.record.run_dir import RunDir, finished_summary
from ssl4rl.core.grpo.sampling.backend import Backend, Native
from ssl4rl.core.grpo.sampling.vllm import opened as vllm
from ssl4rl.core.grpo.stream import check_lengths
from ssl4rl.core.grpo.trainer import Trainer, rewards_of
from ssl4rl.core.grpo.update.sharded import keep_masters
from ssl4rl.core.mixture import Sources, open_recipe
from ssl4rl.core.recipe.recipe import Recipe
from ssl4rl.core.source import Source
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
    """The training examples, the held-out ones, and what could not be used.

    `changes`: how the data changed while the run was not running, a line each time it was resumed nevertheless.
    """

    train: TaskDataset
    held_out: TaskDataset
    unusable: Unusable
    changes: list[str] = field(default_factory=list)

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps: plain values."""
        seen = data_seen(self.train, self.held_out)
        return {"unusable": self.unusable.to_json(), "data": {**seen, "changes": self.changes}}

    def restore(self, state: dict[str, Any], go_on: bool) -> list[str]:
        """Goes on from what `state` gave. Returns what has changed since, which is kept in `changes`.

        Raises:
            Ssl4rlError: something has, and not `go_on`. (Checkpoints of before this was kept say nothing.)
        """
        self.unusable.restore(state["unusable"])
        then = state.get("data")
        if then is None:
            return []
        found = differences(then, data_seen(self.train, self.held_out))
        if found and not go_on:
            raise Ssl4rlError(
                f"the data has changed since step {state['step']}: {found[0]}"
                + (f" (and {len(found) - 1} more)" if len(found) > 1 else "")
                + "; train.changed_data=go_on goes on with what is there now, name=... starts another run"
            )
        self.changes = [*then["changes"], *([f"after step {state['step']}: {', '.join(found)}"] if found else [])]
        return found

    @property
    def sources(self) -> list[Source[Any]]:
        """Each source once."""
        components = (*self.train.components, *self.held_out.components)
        return list({id(component.split.source): component.split.source for component in components}.values())


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
                + ("" if split.source.endless else f"; {split.helps}")
                + (f", or min_items={len(split)}" if len(split) else "")
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
    recipe: Recipe,
    ranks: Ranks,
    device: str,
    say: Say,
    latest: Callable[[RunDir, Ranks], Found | None],
    start: Path | None = None,
    on_host: bool = False,
) -> Opened:
    """Loads and checks everything before time is spent. `latest` finds the engine's checkpoint to go on from; `start`
    are the weights of a new run, None the recipe's model; `on_host` leaves them there (`load_policy`).

    Raises:
        Ssl4rlError: anything the user can mend, before the folder is made.
    """
    run = RunDir(recipe, writes=ranks.first)
    vllm.check(recipe, ranks.size)
    if recipe.train.threads:
        torch.set_num_threads(recipe.train.threads)
    check_loggers(recipe.train.log_to)
    data = open_data(recipe)
    rewards = rewards_of(recipe, data.train)
    for source in data.sources:
        if source.taken:
            say(f"{source.uri.removesuffix(':')}: {source.taken}")
        if source.benchmark:
            say(f"{source.uri}: trains on the items of the benchmark {source.benchmark}, as benchmark_data says")
    for moved in dict.fromkeys(component.split.moved for component in data.held_out.components):
        if moved:
            say(moved)
    open_curriculum(recipe.curriculum, data.train, recipe.train.steps)  # the trainer's is made when the model is there
    checkpoint, state = (latest(run, ranks) if recipe.resume else None) or (None, None)
    if state is not None:
        for change in data.restore(state, recipe.train.changed_data == "go_on"):
            say(f"WARNING the data has changed since step {state['step']}: {change}")
    weights = checkpoint or start
    prepared = prepare(recipe, str(weights) if weights else None)
    longest = check_lengths(data.train, prepared.encoder, recipe.prompt.max_tokens)
    policy = load(recipe, prepared, device, on_host)
    if recipe.train.shard == "gradients":
        keep_masters(policy, ranks)  # before the check, which runs as training will
    if recipe.engine == "trl" and not recipe.warmup.steps:
        ways = Ways(None, False, {"shared": "off", "ok": False, "reason": "TRL trains, and nothing is warmed up"})
    else:
        ways = ranks.by_first(
            lambda: (
                (state and kept_ways(state, policy, recipe.train, say))
                or fast_ways(policy, data.train, recipe.train, say)
            )
        )
    shared = ways.attention is not None
    if ways.attention is not None:
        install(inner_model(policy.model), ways.attention)  # the first rank alone has found it out
    backend: Backend = Native(policy, recipe.train.rollout_rows, shared, ways.static)
    if recipe.sampling.backend == "vllm":
        backend = vllm.open_vllm(recipe, policy, ranks, recipe.folder)
    trainer = Trainer(recipe, policy, data.train, shared=shared, backend=backend, rewards=rewards, ranks=ranks)
    trainer.ways = ways.state(policy, recipe.train)
    if not on_host:  # each process has read the same, and whole weights of what must be divided would take long
        ranks.share_weights(trainer.learner.parameters)
    run.open()
    for note in run.notes:
        say(f"{run.folder}: {note}")
    if state is not None:
        say(f"resuming {run.folder} after step {state['step']}")
    return Opened(run, data, trainer, longest, checkpoint, state)


def prepare(recipe: Recipe, checkpoint: str | None) -> Prepared:
    """The prompts' side of the recipe's model, or of a checkpoint's in its place; nothing large is loaded."""
    return prepare_encoder(
        checkpoint or recipe.model.path,
        system=recipe.prompt.system,
        options=recipe.model.processor,
        lora=_lora(recipe),
        code=recipe.model.code,
        trust=recipe.model.trust_remote_code,
    )


def load(recipe: Recipe, prepared: Prepared, device: str | None = None, on_host: bool = False) -> Policy:
    """The model that `prepare` found, with what is trained of it; `device` None is the recipe's."""
    model = recipe.model
    return load_policy(
        prepared.path,
        name=model.path,
        lora=_lora(recipe),
        freeze_vision=model.freeze_vision,
        gradient_checkpointing=model.gradient_checkpointing,
        attention=model.attention if isinstance(model.attention, str) else model.attention.model_dump(),
        quantize=model.quantize,
        dtype=model.dtype,
        device=device or model.device,
        prepared=prepared,
        on_host=on_host,
    )


def _lora(recipe: Recipe) -> Lora | None:
    lora = recipe.model.lora
    return Lora(**lora.model_dump(), seed=recipe.train.seed) if lora else None
