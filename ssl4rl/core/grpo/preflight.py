"""May a model's completions share their prompt? First by structure, then by numbers on the model at hand.

``structure.why_unshareable`` refuses what is known to be wrong. ``preflight`` computes log-probs and gradients both
ways, as training will (its precision, its attention, gradient checkpointing), and log-probs once more by decoding,
which also catches what nobody has listed yet. The loss itself would not do: on the first update of a batch the ratio
is 1 and the loss the same under every bug.

In float32 both ways must agree to a tolerance. In half precision they may differ as far as rounding explains, which is
measured on this very model (``rounding``): for log-probs, on average and in each completion, and for the gradient as
one vector, since a single tensor's may be nothing but rounding (that of a key bias is 0 in truth).
"""

from __future__ import annotations

import math
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeGuard

import torch
import transformers
from torch import Tensor, nn

from ssl4rl.core.dataset import TaskDataset
from ssl4rl.core.grpo.logps.attention import ATTENTION, COPYING, install
from ssl4rl.core.grpo.logps.numbers import Numbers, gradient_difference, gradient_distance
from ssl4rl.core.grpo.logps.prefix import ROW_TOKENS, Group, inner_model
from ssl4rl.core.grpo.logps.rounding import half_precision, rounded_otherwise
from ssl4rl.core.grpo.logps.structure import why_unshareable
from ssl4rl.core.grpo.model.policy import Policy, autocast
from ssl4rl.core.grpo.sampling.rollout import decoded_logps
from ssl4rl.core.grpo.stream import encode
from ssl4rl.core.recipe.sections import TrainSection
from ssl4rl.core.types import Ssl4rlError

TOLERANCE = 1e-3  # nats, and relative for gradients: deep float32 models round to 1e-5 or 1e-4, faults show above 1e-2
# In half precision, multiples of the measured noise. Healthy models of 2 to 30 layers stayed below 0.9, 2.2 and 0.9;
# faults in 24 to 30 layers passed at least one of the three, most of them all (docs/log.md).
MEAN, WORST, GRADIENT = 1.5, 3.0, 2.0
CHAOS = 0.5  # mean nats, and relative for gradients: a model that rounding alone moves so far hides any fault
# A model nobody has met may fail anywhere in its forward, and a kernel's compiler in ways of its own (no compiler, no
# room for its cache); yet the model can be trained unshared.
FAILURES = (
    *(RuntimeError, ValueError, TypeError, LookupError, AttributeError),
    *(AssertionError, ImportError, OSError, subprocess.SubprocessError),
)


@dataclass(frozen=True)
class Noise:
    """How far rounding alone moves log-probs (mean nats) and the gradient (relative); nan in float32, not measured."""

    logp: float = math.nan
    gradient: float = math.nan

    @property
    def measured(self) -> bool:
        return not math.isnan(self.logp)


@dataclass(frozen=True)
class Preflight:
    """``ok``: completions may share their prompt; else ``reason`` says in a line why not.

    A ``reason`` beside ``ok``: the fast attention failed so, and the slow one, which copies prompts' keys, is in place.

    ``logp_difference``: the largest |difference| of a log-prob in nats (in half precision the mean);
    ``gradient_difference``: of the whole gradient, relative to its norm (in float32 the worst tensor's). Both are nan
    if they were not computed.
    """

    ok: bool
    reason: str
    logp_difference: float = math.nan
    gradient_difference: float = math.nan
    noise: Noise = Noise()

    def to_json(self) -> dict[str, Any]:
        """For summary.json; None stands for what was not measured."""
        numbers = {
            "logp_difference": self.logp_difference,
            "gradient_difference": self.gradient_difference,
            "logp_noise": self.noise.logp,
            "gradient_noise": self.noise.gradient,
        }
        rounded = {name: None if math.isnan(x) else float(f"{x:.3g}") for name, x in numbers.items()}
        return {"ok": self.ok, "reason": self.reason, **rounded}


@dataclass(frozen=True)
class Ways:
    """``attention``: with which completions share their prompt, None if they may not; ``static``: steps of one shape
    decode; ``report``: what was decided and why, for summary.json."""

    attention: str | None
    static: bool
    report: dict[str, Any]

    def state(self, policy: Policy, train: TrainSection) -> dict[str, Any]:
        """What a checkpoint keeps, in plain values: this, and under what it was decided."""
        decided = {"attention": self.attention, "static": self.static, "report": self.report}
        return {**decided, "under": _circumstances(policy, train)}


def kept_ways(state: Mapping[str, Any], policy: Policy, train: TrainSection, say: Callable[[str], None]) -> Ways | None:
    """The ways that `Ways.state` kept in a checkpoint: rounding may decide otherwise on the weights of now, and the run
    would go on as another. None, which is said, where something else than the weights has changed or nothing is kept.
    """
    kept, now, step = state.get("ways"), _circumstances(policy, train), state.get("step")
    if train.shared != "auto" or not _is_kept(kept):
        return None
    changed = [
        f"{name} was {kept['under'].get(name)}, is {now[name]}" for name in now if kept["under"].get(name) != now[name]
    ]
    if changed:
        say(f"shared prompts: checked anew, for since step {step} {'; '.join(changed)}")
        return None
    ways = Ways(kept["attention"], kept["static"], kept["report"])
    reason = f" ({ways.report['reason']})" if ways.report.get("reason") else ""
    found = {None: "OFF, training runs unshared and slower", ATTENTION: "on", COPYING: "on, copying keys"}[
        ways.attention
    ]
    loud = "" if ways.attention == ATTENTION else "WARNING "
    say(f"{loud}shared prompts: {found}, as was found before step {step}'s checkpoint{reason}")
    if train.cuda_graphs == "on" and not ways.static:
        say("WARNING train.cuda_graphs: OFF, as was found then")
    return ways


def _circumstances(policy: Policy, train: TrainSection) -> dict[str, str]:
    """What the decision rests on, beside the weights and the prompts."""
    with autocast(policy):
        precision = half_precision(policy.model) or torch.float32
    device = torch.cuda.get_device_name(policy.device) if policy.device.type == "cuda" else str(policy.device)
    return {
        "train.cuda_graphs": train.cuda_graphs,
        "device": device,
        "precision": str(precision).removeprefix("torch."),
        "torch": str(torch.__version__),
        "transformers": transformers.__version__,
    }


def _is_kept(kept: Any) -> TypeGuard[Mapping[str, Any]]:
    """A state.pt may be somebody else's."""
    return (
        isinstance(kept, Mapping)
        and kept.get("attention") in (None, ATTENTION, COPYING)
        and isinstance(kept.get("static"), bool)
        and all(
            isinstance(kept.get(part), dict)
            and all(isinstance(x, str | bool | int | float | None) for x in kept[part].values())
            for part in ("report", "under")
        )
    )


def fast_ways(policy: Policy, dataset: TaskDataset, train: TrainSection, say: Callable[[str], None]) -> Ways:
    """What of the fast ways this model allows, and the recipe asks for.

    What is left out though it was asked for is said in one loud line. Structure decides first, then numbers, unless
    `train.shared` decides already.

    Raises:
        Ssl4rlError: `train.shared` is on, and the model's structure speaks against it.
    """
    graphs = train.cuda_graphs == "on" or (train.cuda_graphs == "auto" and policy.device.type == "cuda")
    with autocast(policy):
        result = _decided(policy, dataset, train)
        wrong = None
        if result.ok and graphs and train.shared == "auto":
            wrong = _safely(lambda: why_not_static(policy.model, sample_groups(policy, dataset), result.noise))
    report = {"shared": train.shared, **result.to_json()}
    if not result.ok:
        if train.shared == "off":
            say("shared prompts: off, as train.shared says")
        else:
            say(f"WARNING shared prompts: OFF, training runs unshared and slower: {result.reason}")
        if graphs:
            say("WARNING train.cuda_graphs: OFF, for it samples with shared prompts")
        return Ways(None, False, report)
    say(_welcome(result))
    if result.reason and train.shared == "auto":
        say(f"WARNING prompts' keys are copied for every completion, which takes memory: {result.reason}")
    if wrong is not None:
        say(f"WARNING train.cuda_graphs: OFF, sampling launches kernel by kernel: {wrong}")
    copying = bool(result.reason) and train.shared == "auto"
    return Ways(COPYING if copying else ATTENTION, graphs and wrong is None, report)


def _welcome(result: Preflight) -> str:
    if math.isnan(result.logp_difference):
        return f"shared prompts: on ({result.reason})"
    by = f", gradients to {result.gradient_difference:.0e}; rounding alone: {result.noise.logp:.0e} and "
    noise = by + f"{result.noise.gradient:.0e}" if result.noise.measured else ""
    return f"shared prompts: on (log-probs agree to {result.logp_difference:.0e}{noise})"


def _decided(policy: Policy, dataset: TaskDataset, train: TrainSection) -> Preflight:
    if train.shared == "off":
        return Preflight(False, "train.shared=off")
    if train.shared == "on":
        reason = why_unshareable(policy.model)
        if reason is not None:
            raise Ssl4rlError(f"train.shared='on': completions of this model cannot: {reason}; allowed: auto, off")
        return Preflight(True, "train.shared=on, not checked")
    try:
        return preflight(policy.model, sample_groups(policy, dataset), train.tokens_per_microbatch)
    except torch.OutOfMemoryError as error:
        return Preflight(False, f"the check itself ran out of memory: {_first_line(error)}")


def _safely(check: Callable[[], str | None]) -> str | None:
    try:
        return check()
    except torch.OutOfMemoryError as error:
        return f"the check ran out of memory: {_first_line(error)}"


def sample_groups(policy: Policy, dataset: TaskDataset) -> list[Group]:
    """A group of ragged answers for one prompt of each task, and for two prompts at least."""
    groups = []
    # one of each task, for some may show pictures and others none
    first = {c.task.id: i for i, c in reversed(list(enumerate(dataset.components)))}
    for index, component in enumerate((*first.values(), 0)[: max(2, len(first))]):
        prompt = encode(dataset, policy.encoder, index, component)
        verifier = dataset.component_of(prompt.example).verifier
        full = policy.tokens(verifier.complete(prompt.example.answer, dataset.style))
        groups.append(Group(prompt.encoded.prompt_ids, prompt.encoded.media, [full, full[:2], full[:-1]]))
    return groups


def preflight(model: nn.Module, groups: Sequence[Group], row_tokens: int = ROW_TOKENS) -> Preflight:
    """Compare ``shared_logps`` and ``decoded_logps`` with ``unshared_logps`` on ``groups``.

    A few small groups with ragged lengths are best. Runs in the mode of training, dropout off, and puts the mode back;
    leaves ``.grad`` alone. No pass takes more than ``row_tokens`` tokens, or one group where that is larger, as in
    training. Where the fast attention fails, ``concatenated_attention`` is tried in its place and stays if it agrees.
    The compared function is a random weighting of log-probs, so no cancellation hides a difference. Gradients cover
    all trainable parameters up to ``numbers.ELEMENTS``, smallest tensors first: those are in every layer. A model that
    fails keeps the attention it came with. What ``unshared_logps`` raises on these groups is raised, and so is a lack
    of memory.
    """
    reason = why_unshareable(model)
    if reason is not None:
        return Preflight(False, reason)
    result = Preflight(False, "")
    before = inner_model(model).config.get_text_config(decoder=True)._attn_implementation
    try:
        with _as_in_training(model):
            slow = Numbers.of(model, groups, row_tokens, shared=False)
            noise = _noise(model, groups, row_tokens, slow)
            packed = _compare_packed(model, groups, row_tokens, slow, noise, ATTENTION)
            if not packed.ok:
                twin = _compare_packed(model, groups, row_tokens, slow, noise, COPYING)
                # where the twin fails too, what was wrong first is what a reader can use
                packed = replace(twin, reason=packed.reason) if twin.ok else packed
        result = _compare_decoding(model, groups, slow, packed) if packed.ok else packed
    finally:
        if not result.ok:
            install(inner_model(model), before)
    return result


@contextmanager
def _modes_kept(model: nn.Module) -> Iterator[None]:
    training = {module: module.training for module in model.modules()}
    try:
        yield
    finally:
        for module, mode in training.items():
            module.training = mode


@contextmanager
def _as_in_training(model: nn.Module) -> Iterator[None]:
    """Training mode, in which checkpointing acts, without dropout, whose noise is another in each pass."""
    with _modes_kept(model):
        model.train(not _drops_by_itself(inner_model(model).config))
        for module in model.modules():
            if isinstance(module, nn.modules.dropout._DropoutNd):
                module.eval()
        yield


def _drops_by_itself(config: Any) -> bool:
    """Whether the config asks for dropout anywhere, perhaps within a function, where no module can be switched off."""
    entries = config.to_dict()
    parts = [entries, *(part for part in entries.values() if isinstance(part, dict))]
    found = [value for part in parts for name, value in part.items() if "drop" in str(name)]
    return any(isinstance(value, float) and value > 0 for value in found)


def _noise(model: nn.Module, groups: Sequence[Group], row_tokens: int, slow: Numbers) -> Noise:
    if half_precision(model) is None:
        return Noise()
    with rounded_otherwise(model):
        other = Numbers.of(model, groups, row_tokens, shared=False)
    return Noise(float((other.logp_N - slow.logp_N).abs().mean()), gradient_distance(slow.gradients, other.gradients))


def _compare_packed(
    model: nn.Module, groups: Sequence[Group], row_tokens: int, slow: Numbers, noise: Noise, attention: str
) -> Preflight:
    """`shared_logps` with that attention against what `unshared_logps` gave."""
    try:
        install(inner_model(model), attention)
        fast = Numbers.of(model, groups, row_tokens, shared=True)
    except torch.OutOfMemoryError:
        raise
    except FAILURES as error:
        return Preflight(False, f"its packed forward fails: {_first_line(error)}", noise=noise)
    logp, why = _judged(slow.logp_N, fast.logp_N, groups, noise)
    measure = gradient_distance if noise.measured else gradient_difference
    gradient = measure(slow.gradients, fast.gradients)
    allowed = max(TOLERANCE, GRADIENT * noise.gradient) if noise.measured else TOLERANCE
    if why is not None:
        reason = f"packed log-probs {why}"
    # Written so that a nan fails.
    elif not gradient <= allowed:
        of = "their norm" if noise.measured else "a tensor's norm"
        reason = f"packed gradients differ by {gradient:.1e} of {of} (allowed {allowed:.0e})"
    elif noise.measured and not max(noise.logp, noise.gradient) <= CHAOS:
        reason = (
            f"rounding alone moves its log-probs by {noise.logp:.1e} nats and its gradient by {noise.gradient:.1e}, so "
            "nobody can tell (train.shared=on trusts)"
        )
    else:
        return Preflight(True, "", logp, gradient, noise)
    return Preflight(False, reason, logp, gradient, noise)


def _compare_decoding(model: nn.Module, groups: Sequence[Group], slow: Numbers, packed: Preflight) -> Preflight:
    """`packed`, unless decoding with shared prompts gives other log-probs."""
    try:
        with _modes_kept(model):
            fast_N = decoded_logps(model.eval(), groups).cpu()
    except torch.OutOfMemoryError:
        raise
    except FAILURES as error:
        return replace(packed, ok=False, reason=f"its decoding fails: {_first_line(error)}")
    logp, why = _judged(slow.logp_N, fast_N, groups, packed.noise)
    if why is not None:
        return replace(packed, ok=False, reason=f"log-probs while decoding {why}")
    return replace(packed, logp_difference=max(packed.logp_difference, logp))


@torch.no_grad()
def why_not_static(model: nn.Module, groups: Sequence[Group], noise: Noise | None = None) -> str | None:
    """Why not to decode in steps of one shape (CUDA graphs on a GPU), in a line, or None: it agrees with `Cascade`.

    For a model that `preflight` accepted, whose ``noise`` it measured. A lack of memory is raised.
    """
    try:
        with _modes_kept(model):
            model.eval()
            slow_N, fast_N = decoded_logps(model, groups), decoded_logps(model, groups, static=True)
    except torch.OutOfMemoryError:
        raise
    except FAILURES as error:
        return f"it fails: {_first_line(error)}"
    _, why = _judged(slow_N.cpu(), fast_N.cpu(), groups, noise or Noise())
    return None if why is None else f"its log-probs {why}"


def _judged(slow_N: Tensor, fast_N: Tensor, groups: Sequence[Group], noise: Noise) -> tuple[float, str | None]:
    """How far two ways' log-probs are apart, and in words if that is too far: the largest difference in float32, the
    mean in half precision, where no completion may stand out either."""
    difference_N = (slow_N - fast_N).abs()
    if not noise.measured:
        off = float(difference_N.max())
        return off, None if off <= TOLERANCE else f"differ by {off:.1e} nats (allowed {TOLERANCE:.0e})"
    lengths = [len(ids) for group in groups for ids in group.completion_ids]
    means = torch.stack([part.mean() for part in difference_N.split(lengths)])  # type: ignore[no-untyped-call]
    mean, worst = float(difference_N.mean()), float(means.max())  # torch's max does not pass over a nan
    unit = max(noise.logp, TOLERANCE / MEAN)
    if mean <= MEAN * unit and worst <= WORST * unit:
        return mean, None
    return mean, (
        f"differ by {mean:.1e} nats on average and {worst:.1e} in one completion (allowed {MEAN * unit:.0e} and "
        f"{WORST * unit:.0e}; rounding alone: {noise.logp:.0e})"
    )


def _first_line(error: BaseException) -> str:
    """Compilers' errors run over pages."""
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
