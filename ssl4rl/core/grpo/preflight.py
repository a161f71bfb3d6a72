"""May a model's completions share their prompt? First by structure, then by numbers on the model at hand.

``why_unshareable`` reads the config and signatures and costs nothing; every model known to be wrong in a packed row is
refused by it. ``preflight`` computes log-probs and gradients both ways, and log-probs once more by decoding, which
also catches what nobody has listed yet. The loss itself would not do: on the first update of a batch the ratio is 1 and
the loss the same under every bug.
"""

from __future__ import annotations

import inspect
import math
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ssl4rl.core.dataset import TaskDataset
from ssl4rl.core.grpo.logps.attention import ATTENTION, COPYING, install
from ssl4rl.core.grpo.logps.features import takes_features
from ssl4rl.core.grpo.logps.prefix import Group, TokenLogps, inner_model, shared_logps, unshared_logps
from ssl4rl.core.grpo.model.policy import Policy, autocast
from ssl4rl.core.grpo.sampling.rollout import decoded_logps
from ssl4rl.core.grpo.stream import encode

TOLERANCE = 1e-3  # nats, and relative for gradients: deep float32 models round to 1e-5 or 1e-4, faults show above 1e-2
COARSE_LOGP, COARSE_GRADIENT = 0.05, 0.1  # mean nats and relative, where numbers have half precision
# A model nobody has met may fail anywhere in its forward, and a kernel's compiler in ways of its own (no compiler, no
# room for its cache); yet the model can be trained unshared.
FAILURES = (
    *(RuntimeError, ValueError, TypeError, LookupError, AttributeError),
    *(AssertionError, ImportError, OSError, subprocess.SubprocessError),
)
GRADIENT_ELEMENTS = 50_000_000  # parameters whose gradients are compared, smallest tensors first


@dataclass(frozen=True)
class Preflight:
    """``ok``: completions may share their prompt; else ``reason`` says in a line why not.

    A ``reason`` beside ``ok``: the fast attention failed so, and the slow one, which copies prompts' keys, is in place.

    ``logp_difference``: the largest |difference| of a log-prob in nats (in half precision the mean);
    ``gradient_difference``: the worst tensor's, relative to its norm. Both are nan if structure alone decided.
    """

    ok: bool
    reason: str
    logp_difference: float
    gradient_difference: float


def why_unshareable(model: nn.Module) -> str | None:
    """Why completions of this model cannot share their prompt, in a line, or None if nothing speaks against it."""
    peft = getattr(model, "peft_config", {})
    if any(getattr(config, "is_prompt_learning", False) for config in peft.values()):
        return "its PEFT adapter puts virtual tokens before the prompt"
    inner = inner_model(model)
    text = inner.config.get_text_config(decoder=True)
    if inner.config.is_encoder_decoder:
        return "it is an encoder-decoder"
    return _layers(inner, text) or _attention(inner, text) or _forward(inner, text)


def _layers(inner: PreTrainedModel, text: Any) -> str | None:
    kinds = set(getattr(text, "layer_types", None) or ())
    if kinds - {"full_attention"}:
        return f"it has layers of {', '.join(sorted(kinds - {'full_attention'}))}"
    if getattr(inner, "_is_stateful", False):
        return "it keeps a recurrent state, which runs on from one completion into the next"
    if not kinds and getattr(text, "sliding_window", None) is not None:
        return f"its attention has a sliding window of {text.sliding_window} tokens"
    if getattr(text, "attention_chunk_size", None) is not None and not kinds:
        return f"its attention is chunked by {text.attention_chunk_size} tokens"
    return None


def _attention(inner: PreTrainedModel, text: Any) -> str | None:
    if not getattr(inner.get_decoder(), "_supports_attention_backend", False):
        return "its attention cannot be replaced (no attention-backend API)"
    if text._attn_implementation not in ("sdpa", "eager", ATTENTION, COPYING):
        return f"it was loaded with {text._attn_implementation}; load it with attn_implementation='sdpa'"
    capped = [name for name in ("attn_logit_softcapping", "final_logit_softcapping") if getattr(text, name, None)]
    if capped:
        return f"it caps logits ({' and '.join(capped)})"
    scales = ("logits_scaling", "logit_scale", "lm_head_multiplier", "output_multiplier")
    scaled = [name for name in scales if getattr(text, name, None) not in (None, 1)]
    if scaled:
        return f"it scales logits after its head ({scaled[0]})"
    if getattr(text, "use_bidirectional_attention", None) or not getattr(text, "is_causal", True):
        return "its attention is bidirectional"
    if getattr(text, "attention_dropout", 0.0):
        return f"it has attention dropout of {text.attention_dropout}"
    rope = getattr(text, "rope_parameters", None) or {}
    if rope.get("rope_type") in ("dynamic", "longrope"):
        return f"its {rope['rope_type']} RoPE depends on the longest sequence in a batch"
    return None


def _forward(inner: PreTrainedModel, text: Any) -> str | None:
    if inner.base_model is inner or inner.get_output_embeddings() is None:
        return "it has no language-model head on a base model"
    named = inspect.signature(inner.base_model.forward).parameters
    if "position_ids" not in named:
        return "its forward takes no position_ids"
    if text is not inner.config:
        if "token_type_ids" in named:
            return "it attends to images, or to the whole prompt, in both directions"
        if not takes_features(inner):
            return "its forward takes no precomputed image features"
    return None


def fast_ways(
    policy: Policy, dataset: TaskDataset, cuda_graphs: bool, say: Callable[[str], None]
) -> tuple[str | None, bool]:
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


def preflight(model: nn.Module, groups: Sequence[Group]) -> Preflight:
    """Compare ``shared_logps`` and ``decoded_logps`` with ``unshared_logps`` on ``groups``.

    A few small groups with ragged lengths are best. Runs in evaluation mode and puts the mode back; leaves ``.grad``
    alone. Where the fast attention fails, ``concatenated_attention`` is tried in its place and stays if it agrees. The
    compared function is a random weighting of log-probs, so no cancellation hides a difference. Gradients
    cover all trainable parameters up to ``GRADIENT_ELEMENTS``, smallest tensors first: those are in every layer. A
    model that fails keeps the attention it came with. What ``unshared_logps`` raises on these groups is raised, and so
    is a lack of memory.
    """
    reason = why_unshareable(model)
    if reason is not None:
        return Preflight(False, reason, math.nan, math.nan)
    result = Preflight(False, "", math.nan, math.nan)
    before = inner_model(model).config.get_text_config(decoder=True)._attn_implementation
    training = {module: module.training for module in model.modules()}
    model.eval()
    try:
        slow = _with_gradients(unshared_logps, model, groups, _weights(model))
        packed = _compare_packed(model, groups, slow, ATTENTION)
        if not packed.ok:
            twin = _compare_packed(model, groups, slow, COPYING)
            # where the twin fails too, what was wrong first is what a reader can use
            packed = replace(twin, reason=packed.reason) if twin.ok else packed
        result = _compare_decoding(model, groups, slow[0], packed) if packed.ok else packed
    finally:
        for module, mode in training.items():
            module.training = mode
        if not result.ok:
            install(inner_model(model), before)
    return result


def _compare_packed(
    model: nn.Module, groups: Sequence[Group], slow: tuple[TokenLogps, list[Tensor]], attention: str
) -> Preflight:
    """`shared_logps` with that attention against what `unshared_logps` gave."""
    slow_logps, slow_gradients = slow
    try:
        install(inner_model(model), attention)
        fast, fast_gradients = _with_gradients(shared_logps, model, groups, _weights(model))
    except torch.OutOfMemoryError:
        raise
    except FAILURES as error:
        return Preflight(False, f"its packed forward fails: {_first_line(error)}", math.nan, math.nan)
    logp = _logp_difference(slow_logps, fast.logp_PGT[fast.mask_PGT], _is_coarse(model))
    gradient = gradient_difference(slow_gradients, fast_gradients)
    most_logp, most_gradient = (COARSE_LOGP, COARSE_GRADIENT) if _is_coarse(model) else (TOLERANCE, TOLERANCE)
    # Written so that a nan fails.
    if not logp <= most_logp:
        reason = f"packed log-probs differ by {logp:.1e} nats (allowed {most_logp:.0e})"
    elif not gradient <= most_gradient:
        reason = f"packed gradients differ by {gradient:.1e} of a tensor's norm (allowed {most_gradient:.0e})"
    else:
        return Preflight(True, "", logp, gradient)
    return Preflight(False, reason, logp, gradient)


def _compare_decoding(model: nn.Module, groups: Sequence[Group], slow: TokenLogps, packed: Preflight) -> Preflight:
    """`packed`, unless decoding with shared prompts gives other log-probs."""
    coarse = _is_coarse(model)
    most = COARSE_LOGP if coarse else TOLERANCE
    try:
        logp = _logp_difference(slow, decoded_logps(model, groups), coarse)
    except torch.OutOfMemoryError:
        raise
    except FAILURES as error:
        return replace(packed, ok=False, reason=f"its decoding fails: {_first_line(error)}")
    if not logp <= most:
        return replace(
            packed, ok=False, reason=f"log-probs while decoding differ by {logp:.1e} nats (allowed {most:.0e})"
        )
    return replace(packed, logp_difference=max(packed.logp_difference, logp))


@torch.no_grad()
def why_not_static(model: nn.Module, groups: Sequence[Group]) -> str | None:
    """Why not to decode in steps of one shape (CUDA graphs on a GPU), in a line, or None: it agrees with `Cascade`.

    For a model that `preflight` accepted. A lack of memory is raised.
    """
    training = {module: module.training for module in model.modules()}
    model.eval()
    try:
        difference_N = (decoded_logps(model, groups, static=True) - decoded_logps(model, groups)).abs()
    except torch.OutOfMemoryError:
        raise
    except FAILURES as error:
        return f"it fails: {_first_line(error)}"
    finally:
        for module, mode in training.items():
            module.training = mode
    coarse = _is_coarse(model)
    off, most = float(difference_N.mean() if coarse else difference_N.max()), COARSE_LOGP if coarse else TOLERANCE
    return None if off <= most else f"its log-probs differ by {off:.1e} nats (allowed {most:.0e})"


def _first_line(error: BaseException) -> str:
    """Compilers' errors run over pages."""
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"


def _logp_difference(slow: TokenLogps, logp_N: Tensor, coarse: bool) -> float:
    difference_N = (slow.logp_PGT[slow.mask_PGT] - logp_N).detach().abs()
    return float(difference_N.mean() if coarse else difference_N.max())


def _weights(model: nn.Module) -> list[nn.Parameter]:
    chosen: list[nn.Parameter] = []
    total = 0
    for weight in sorted((weight for weight in model.parameters() if weight.requires_grad), key=torch.Tensor.numel):
        total += weight.numel()
        if chosen and total > GRADIENT_ELEMENTS:
            break
        chosen.append(weight)
    return chosen


def _with_gradients(
    logps: Any, model: nn.Module, groups: Sequence[Group], weights: Sequence[nn.Parameter]
) -> tuple[TokenLogps, list[Tensor]]:
    with torch.enable_grad():
        result: TokenLogps = logps(model, groups)
        shape = result.logp_PGT.shape
        factor_PGT = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(result.logp_PGT)
        gradients = (
            torch.autograd.grad((factor_PGT * result.logp_PGT).sum(), list(weights), allow_unused=True)
            if weights
            else ()
        )
    filled = [torch.zeros_like(w) if g is None else g for w, g in zip(weights, gradients, strict=True)]
    return result, filled


def _is_coarse(model: nn.Module) -> bool:
    device = next(model.parameters()).device.type
    low = {torch.bfloat16, torch.float16}
    return torch.is_autocast_enabled(device) or any(weight.dtype in low for weight in model.parameters())


def gradient_difference(left: Sequence[Tensor], right: Sequence[Tensor]) -> float:
    """The worst tensor's |left - right| / |left|.

    A tensor whose root mean square is below a thousandth of the tensors' average counts as having that much: the
    gradient of a key bias, say, is zero but for rounding, and its direction means nothing.
    """
    if not left:
        return 0.0
    sizes = [float(tensor.double().square().mean().sqrt()) for tensor in left]
    least = max(1e-3 * sum(sizes) / len(sizes), torch.finfo(torch.float32).tiny)
    off = [float((a.double() - b.double()).square().mean().sqrt()) for a, b in zip(left, right, strict=True)]
    # max() would pass over a nan
    ratios = [difference / max(size, least) for difference, size in zip(off, sizes, strict=True)]
    return math.nan if any(map(math.isnan, ratios)) else max(ratios)
