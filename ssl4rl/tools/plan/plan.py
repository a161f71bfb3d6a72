"""What a recipe takes before anything is loaded (`ssl4rl plan`, `ssl4rl.plan`)."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from ssl4rl.core.recipe.recipe import Recipe, load_recipe
from ssl4rl.tools.asked import Place, at_least, need, quiet
from ssl4rl.tools.plan.fit import GB, PARTS, Fit, fits, needed
from ssl4rl.tools.plan.pace import Pace, paces
from ssl4rl.tools.shown import Shown

CARDS = (24, 40, 80)
MEASURED = 64  # prompts whose tokens are counted


@dataclass(frozen=True)
class Lengths:
    """Tokens of the first prompts of the recipe's own data, by its processor."""

    n: int
    least: int
    middle: float
    most: int


@dataclass(frozen=True, repr=False)
class Plan(Shown):
    """What one of `gpus` devices holds at most, in bytes by phase and part, if every reply is as long as it may be.

    `parameters`, `trained`: how many. `work`: tokens and passes of a step. `notes`: what was found out on the way.
    `paces`: about how long its steps take on known cards, by rules of thumb.
    """

    recipe: Recipe
    gpus: int
    gpu: bool
    parameters: int
    trained: int
    lengths: Lengths
    peaks: Mapping[str, Mapping[str, int]]
    work: Mapping[str, int]
    fits: Sequence[Fit] = ()
    notes: Sequence[str] = ()
    paces: Sequence[Pace] = ()

    @property
    def worst(self) -> str:
        """The phase that takes most."""
        return max(self.peaks, key=lambda name: sum(self.peaks[name].values()))

    @property
    def bytes_needed(self) -> float:
        """That phase's tensors, and on a GPU what lies beside them."""
        return needed(self.peaks[self.worst], self.gpu)

    def to_json(self) -> dict[str, Any]:
        return {
            "recipe": self.recipe.name,
            "model": self.recipe.model.path,
            "gpus": self.gpus,
            "device": "gpu" if self.gpu else "cpu",
            "parameters": self.parameters,
            "trained": self.trained,
            "prompt_tokens": dict(vars(self.lengths)),
            "work": dict(self.work),
            "bytes": {phase: dict(parts) for phase, parts in self.peaks.items()},
            "needed_gb": round(self.bytes_needed / GB, 3),
            "fits": [
                {"gb": fit.gb, "overrides": fit.overrides, "needed_gb": round(fit.peak / GB, 3)} for fit in self.fits
            ],
            "pace": [
                {"card": p.card, "sampling_s": p.sampling, "update_s": p.update, "hours": p.hours} for p in self.paces
            ],
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        return "\n\n".join([self._head(), self._table(), *([self._cards()] if self.fits else [])])

    def _head(self) -> str:
        n, device = self.gpus, "GPU" if self.gpu else "process on a CPU"
        lengths, work = self.lengths, self.work
        lines = [
            f"{self.recipe.name}: {self.recipe.model.path}, {self.parameters:,} parameters, {self.trained:,} trained, "
            f"on {n} {device}{'s' * (n > 1 and self.gpu)}",
            f"prompts   {lengths.least} to {lengths.most} tokens, half of them up to {lengths.middle:g} "
            f"(the first {lengths.n} of the data)",
            f"a step    {work['prompts']} prompts x {work['group_size']} replies of up to {work['reply_tokens']:,} "
            f"tokens: {work['sampled_tokens']:,} sampled in {work['chunks']} chunk(s) a device, "
            f"{work['microbatches']} micro-batch(es) a device, each {1 + work['frozen_passes']} time(s) forward and "
            f"once backward, {work['updates']} update(s)",
            *(self._hours() if self.paces else ()),
            *self.notes,
        ]
        return "\n".join(lines)

    def _hours(self) -> Iterator[str]:
        """A rough guess must not look like a measurement: two digits at most."""

        def rough(number: float) -> str:
            return f"{float(f'{number:.2g}'):g}"

        each = "; ".join(f"{p.card} {rough(p.sampling + p.update)} s a step, {rough(p.hours)} h" for p in self.paces)
        yield f"time      about, for {self.paces[0].steps} steps: {each}; a rule of thumb, not measured"

    def _table(self) -> str:
        unit, name = (GB, "GB") if self.bytes_needed > GB else (10**6, "MB")
        parts = [part for part in PARTS if any(part in phase for phase in self.peaks.values())]
        rows = [[f"{name} a device", *self.peaks]]
        for part in parts:
            rows.append([part, *(f"{phase.get(part, 0) / unit:.2f}" for phase in self.peaks.values())])
        rows.append(["together", *(f"{sum(phase.values()) / unit:.2f}" for phase in self.peaks.values())])
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join([row[0].ljust(widths[0]), *(x.rjust(w) for x, w in zip(row[1:], widths[1:], strict=True))])
            for row in rows
        ]
        beside = ", with CUDA's own 0.9 GB and 5 % that its allocator holds in reserve" if self.gpu else ""
        return "\n".join([*lines, f"needed: {self.bytes_needed / unit:.2f} {name} ({self.worst}{beside})"])

    def _cards(self) -> str:
        lines = []
        for fit in self.fits:
            if fit.overrides is None:
                said = "does not fit by what is known here; more GPUs, a smaller model or shorter replies may"
            elif not fit.overrides:
                said = "fits as it is"
            else:
                said = f"{fit.lines}   (then {fit.peak / GB:.1f} GB)"
            lines.append(f"{fit.gb} GB: {said}")
        return "\n".join(lines)

    def page(self) -> str:
        title = html.escape(f"ssl4rl plan: {self.recipe.name}")
        return f"<!doctype html><meta charset=utf-8><title>{title}</title><pre>{html.escape(str(self))}</pre>\n"


def plan(
    recipe: Place | Mapping[str, Any] | Recipe, /, *, gpus: int = 1, cards: Sequence[int] = CARDS, **overrides: Any
) -> Plan:
    """Peak memory of a recipe by phase and by part, without its weights.

    The engine's own step is run on tensors that have sizes and no memory. Prompts are those of the recipe's data, put
    through its processor. Every reply is taken to be as long as it may be.

    Args:
        recipe: as `ssl4rl.train` takes it; `overrides` too.
        gpus: processes that share the step; `train.shard` is heeded.
        cards: sizes in GB for which overrides are sought; none for a plan without a GPU (`model.device=cpu`).

    Raises:
        Ssl4rlError: what the user can mend: an unknown name or key, a model without a config, data that cannot be
            opened, a prompt that is too long.
    """
    settings = load_recipe(recipe, overrides).single("a plan")
    need("train", "torch", "transformers", "accelerate")
    at_least(1, gpus=gpus)
    with quiet():
        return _planned(settings, gpus, tuple(cards))


def _planned(recipe: Recipe, gpus: int, cards: tuple[int, ...]) -> Plan:
    from ssl4rl.core.grpo.opening import open_data, prepare
    from ssl4rl.core.grpo.stream import check_lengths, first_prompts
    from ssl4rl.tools.plan.model import open_policy
    from ssl4rl.tools.plan.phases import Step

    gpu = recipe.model.device != "cpu"
    data, prepared = open_data(recipe), prepare(recipe, None)
    check_lengths(data.train, prepared.encoder, recipe.prompt.max_tokens, MEASURED)
    prompts = [prompt.encoded for prompt in first_prompts(data.train, prepared.encoder, MEASURED)]

    def step(settings: Recipe) -> Step:
        ready = prepared if prepared.built is None else prepare(settings, None)
        return Step(settings, open_policy(settings, ready, gpu), prompts, gpus, gpu)

    first = step(recipe)
    peaks = first.peaks()
    tokens = [len(prompt.prompt_ids) for prompt in prompts]
    found = fits(recipe, peaks, lambda changed, only: step(changed).peaks(only), cards, gpus) if gpu else []
    parameters = list(first.policy.model.parameters())
    work, total = first.work(), sum(p.numel() for p in parameters)
    trained = sum(p.numel() for p in parameters if p.requires_grad)
    return Plan(
        recipe=recipe,
        gpus=gpus,
        gpu=gpu,
        parameters=total,
        trained=trained,
        lengths=Lengths(len(tokens), min(tokens), median(tokens), max(tokens)),
        peaks=peaks,
        work=work,
        fits=found,
        paces=paces(recipe, work, peaks, median(tokens), total, trained, gpus) if gpu else [],
        notes=[*([f"shared   no: {first.why_unshared}"] if first.why_unshared else [])],
    )
