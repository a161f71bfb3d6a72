"""Per-token log-probs of G completions a prompt, with every prompt and every image computed once.

GRPO samples G completions from one prompt. ``unshared_logps`` computes them as every trainer does: a padded row for
each completion, the prompt in front. ``shared_logps`` computes one row for several groups, ``[prompts | branches]``:

- a branch is the last prompt token and the completion without its last token, so that each of its positions has exactly
  one label, and the prompts in front need no label at all;
- positions start again after the prompt in each branch, on all three axes where the model has M-RoPE;
- attention is that of ``attention.py``: a branch sees its prompt and itself;
- the vision tower runs once a prompt, and the head on branches only (``head.py``).

Equal completions of a prompt, common where answers are short, are computed once by both functions, and the gradient of
one is the sum over its repeats (``Group.distinct``).

Tokens through the layers fall from G (L + C) to L + U C for U different completions. Both functions return the same
numbers and gradients up to rounding for models that ``structure.why_unshareable`` accepts; for the others only
``unshared_logps`` is right.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils.rnn import pad_sequence
from torch.utils.weak import WeakTensorKeyDictionary
from transformers import PreTrainedModel

from ssl4rl.core.grpo.logps.attention import install
from ssl4rl.core.grpo.logps.features import (
    MediaFeatures,
    accepted,
    joined,
    media_on,
    shows,
    takes_features,
    tower_features,
)
from ssl4rl.core.grpo.logps.head import head_logps, logits_logps
from ssl4rl.core.grpo.logps.layout import Layout, layout

ROW_TOKENS = 8192
PER_TOKEN = ("mm_token_type_ids", "token_type_ids")  # media with an entry for each prompt token, [L] or [1, L]


@dataclass(frozen=True)
class Group:
    """One prompt and its completions.

    ``prompt_ids``: long [L], L >= 1. ``media``: what the processor returned for this prompt beside the ids
    (pixel_values, image_grid_thw, pixel_attention_mask, mm_token_type_ids, ...) with its batch axis of 1 where it has
    one; empty for text. ``completion_ids``: G tensors, long [C_g], of 1 token or more each. Any device. ``features``:
    what ``image_features`` returned for this prompt, to run a frozen tower once for several passes. ``apart``: compute
    equal completions each by itself, since active dropout gives each its own noise (see ``has_dropout``).
    """

    prompt_ids: Tensor
    media: Mapping[str, Tensor]
    completion_ids: Sequence[Tensor]
    features: MediaFeatures | None = None
    apart: bool = False

    def __post_init__(self) -> None:
        if self.prompt_ids.ndim != 1 or not len(self.prompt_ids):
            raise ValueError(f"prompt_ids must be [L] with L >= 1, got shape {tuple(self.prompt_ids.shape)}")
        if not self.completion_ids or any(ids.ndim != 1 or not len(ids) for ids in self.completion_ids):
            shapes = [tuple(ids.shape) for ids in self.completion_ids]
            raise ValueError(f"completion_ids must be one or more of shape [C] with C >= 1, got {shapes}")

    @cached_property
    def distinct(self) -> tuple[list[Tensor], list[int]]:
        """The different completions in order of appearance, and for each of the G which of them it is."""
        if self.apart:
            return list(self.completion_ids), list(range(len(self.completion_ids)))
        keys = [tuple(ids.tolist()) for ids in self.completion_ids]
        number = {key: u for u, key in enumerate(dict.fromkeys(keys))}
        completions = dict(zip(keys, self.completion_ids, strict=True))
        return [completions[key] for key in number], [number[key] for key in keys]

    @property
    def tokens(self) -> int:
        """Tokens to compute with the prompt shared."""
        return len(self.prompt_ids) - 1 + sum(map(len, self.distinct[0]))


@dataclass(frozen=True)
class TokenLogps:
    """Log-probs and entropies (nats) of completion tokens, right-padded: P groups, G completions, T tokens.

    ``logp_PGT`` float32, 0 at padding; ``entropy_PGT`` the same, or None if not asked for; ``mask_PGT`` bool, True at
    completion tokens.
    """

    logp_PGT: Tensor
    entropy_PGT: Tensor | None
    mask_PGT: Tensor


def inner_model(model: nn.Module) -> PreTrainedModel:
    """The transformers model inside PEFT's wrapper; its layers keep their adapters.

    Raises ValueError for DistributedDataParallel, whose gradient averaging would be skipped in silence.
    """
    if isinstance(model, DistributedDataParallel):
        raise ValueError("pass the model inside DistributedDataParallel (.module) and average its gradients yourself")
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model  # type: ignore[operator]
    if not isinstance(inner, PreTrainedModel):
        raise ValueError(f"expected a transformers model, bare or in a PEFT wrapper, got {type(model).__name__}")
    return inner


def shared_logps(
    model: nn.Module,
    groups: Sequence[Group],
    *,
    temperature: float = 1.0,
    entropy: bool = False,
    image_features: Sequence[MediaFeatures | None] | None = None,
    row_tokens: int = ROW_TOKENS,
) -> TokenLogps:
    """Log-probs of every completion token under softmax(logits / temperature), each prompt and image computed once.

    ``image_features``: one entry a group, as ``image_features()`` returns them, to run a frozen tower once for several
    passes; by default the tower runs here, with gradients if it trains. ``row_tokens`` bounds the tokens of one forward
    pass; a group is never cut in two. Works under autocast and gradient checkpointing. Raises ValueError if a
    completion (its last token apart) or the end of a prompt holds an image placeholder, which the model would try to
    fill.
    """
    inner = inner_model(model)
    install(inner)
    features = _features(inner, groups) if image_features is None else list(image_features)
    if len(features) != len(groups):
        raise ValueError(f"image_features has {len(features)} entries for {len(groups)} groups")
    parts = [
        _row_logps(inner, groups[row], features[row], temperature=temperature, entropy=entropy)
        for row in rows_of(groups, row_tokens)
    ]
    logp_N, entropy_N = (torch.cat(values) if values[0] is not None else None for values in zip(*parts, strict=True))
    return _padded(groups, logp_N, entropy_N)


def unshared_logps(
    model: nn.Module,
    groups: Sequence[Group],
    *,
    temperature: float = 1.0,
    entropy: bool = False,
    image_features: Sequence[MediaFeatures | None] | None = None,
    chunked: bool = False,
) -> TokenLogps:
    """The slow twin of ``shared_logps``: one right-padded row a completion through the model's own forward.

    Right for every causal language model of transformers. The vision tower still runs once a prompt where the model
    takes ``mm_encoder_outputs``; else once a completion. ``chunked``: logits in chunks from the base model's hidden
    states, as ``shared_logps`` does it, for a model whose head is all that comes after them (``structure.bare_head``).
    """
    inner = inner_model(model)
    reusable = takes_features(inner)
    features = list(image_features) if image_features is not None else _features(inner, groups) if reusable else []
    logps, entropies = [], []
    for p, group in enumerate(groups):
        inputs, C = _padded_rows(inner, group, features[p] if reusable else None)
        if chunked:
            hidden_GSD = inner.base_model(**inputs, use_cache=False).last_hidden_state
            at_GC = hidden_GSD[:, hidden_GSD.shape[1] - C - 1 : -1]
            seen = [at_GC[g, : len(ids)] for g, ids in enumerate(group.distinct[0])]
            label_N = torch.cat(group.distinct[0]).to(hidden_GSD.device)
            head: Any = inner.get_output_embeddings()
            logp_N, entropy_N = head_logps(head, torch.cat(seen), label_N, temperature=temperature, entropy=entropy)
            logps.append(logp_N)
            entropies += [] if entropy_N is None else [entropy_N]
            continue
        keeps = "logits_to_keep" in inspect.signature(inner.forward).parameters
        logits = inner(**inputs, use_cache=False, **({"logits_to_keep": C + 1} if keeps else {})).logits
        for g, ids in enumerate(group.distinct[0]):
            # Row g holds L + C tokens; the logits before completion token t stand at L - 1 + t.
            logits_CV = logits[g, logits.shape[1] - C - 1 :][: len(ids)]
            logp_C, entropy_C = logits_logps(logits_CV, ids.to(logits.device), temperature, entropy)
            logps.append(logp_C)
            entropies.append(entropy_C)
    return _padded(groups, torch.cat(logps), torch.cat(entropies) if entropy else None)


def image_features(model: nn.Module, groups: Sequence[Group]) -> list[MediaFeatures | None]:
    """The vision tower's and projector's output for each group, None where it has no images.

    Worth keeping over the passes of a step when nothing before the text model trains. Gradients flow if it does.
    """
    return _features(inner_model(model), groups)


def fixed_features(model: nn.Module) -> bool:
    """Whether image features can be kept while the model trains: nothing before its text model does."""
    inner = inner_model(model)
    text = [*inner.get_decoder().parameters(), *inner.get_output_embeddings().parameters()]
    known = set(map(id, text))
    return takes_features(inner) and not any(p.requires_grad and id(p) not in known for p in inner.parameters())


def has_dropout(model: nn.Module) -> bool:
    """Whether training draws noise for each token (LoRA's dropout): then equal completions are not computed alike."""
    return any(isinstance(module, nn.Dropout) and module.p > 0 for module in model.modules())


def _features(inner: PreTrainedModel, groups: Sequence[Group]) -> list[MediaFeatures | None]:
    made = iter(tower_features(inner, [group.media for group in groups if group.features is None]))
    return [next(made) if group.features is None else group.features for group in groups]


def rows_of(groups: Sequence[Group], row_tokens: int) -> Iterator[slice]:
    """Consecutive groups of at most ``row_tokens`` tokens together, or a single larger one."""
    first = total = 0
    for p, group in enumerate(groups):
        if p > first and total + group.tokens > row_tokens:
            yield slice(first, p)
            first, total = p, 0
        total += group.tokens
    yield slice(first, len(groups))


def _row_logps(
    inner: PreTrainedModel,
    groups: Sequence[Group],
    features: Sequence[MediaFeatures | None],
    *,
    temperature: float,
    entropy: bool,
) -> tuple[Tensor, Tensor | None]:
    """Log-probs and entropies [N] of the row's completion tokens in order: group, distinct completion, token."""
    device = inner.device
    plan = layout(
        [len(group.prompt_ids) - 1 for group in groups],
        [[len(ids) for ids in group.distinct[0]] for group in groups],
        device,
    )
    ids_1S = _row_ids(groups, plan).to(device).unsqueeze(0)
    label_N = torch.cat([ids for group in groups for ids in group.distinct[0]]).to(device)
    seen = joined(features)
    if seen:
        _check_placeholders(inner, ids_1S[0, plan.prompt_tokens :])
    hidden_1SD = inner.base_model(
        input_ids=ids_1S,
        position_ids=_row_positions(inner, groups),
        # transformers hands any 4-D mask down as it is, instead of building an S x S one that nobody would read.
        attention_mask=torch.empty(1, 1, 0, 0, device=device),
        use_cache=False,
        shared_prefix=plan,
        **({"mm_encoder_outputs": seen} if seen else {}),
    ).last_hidden_state
    hidden_ND = hidden_1SD[0, plan.prompt_tokens :]
    return head_logps(inner.get_output_embeddings(), hidden_ND, label_N, temperature=temperature, entropy=entropy)


def _row_ids(groups: Sequence[Group], plan: Layout) -> Tensor:
    """[S]: prompts without their last token, then branches: that token and the completion without its last."""
    prompts = [group.prompt_ids[:-1] for group in groups]
    branches = [x for group in groups for ids in group.distinct[0] for x in (group.prompt_ids[-1:], ids[:-1])]
    ids_S = torch.cat([x.to(branches[0].device) for x in (*prompts, *branches)])
    if len(ids_S) != plan.tokens:
        raise AssertionError(f"row of {len(ids_S)} tokens for a layout of {plan.tokens}")
    return ids_S


def _row_positions(inner: PreTrainedModel, groups: Sequence[Group]) -> Tensor:
    """Positions [1, S], or [3, 1, S] under M-RoPE: the prompt's own, and in each branch on from the prompt's last."""
    prompts, branches = [], []
    for group in groups:
        prompt_AL = prompt_positions(inner, group.prompt_ids, group.media)
        steps_C = torch.arange(max(map(len, group.completion_ids)), device=prompt_AL.device)
        prompts.append(prompt_AL[:, :-1])
        branches += [prompt_AL[:, -1:] + steps_C[: len(ids)] for ids in group.distinct[0]]
    position_AS = torch.cat([*prompts, *branches], dim=1)
    return position_AS if len(position_AS) == 1 else position_AS.unsqueeze(1)


_positions: MutableMapping[Tensor, tuple[Any, torch.device, Tensor]] = WeakTensorKeyDictionary()


def prompt_positions(inner: PreTrainedModel, prompt_ids: Tensor, media: Mapping[str, Tensor]) -> Tensor:
    """Positions of one prompt's tokens: long [1, L], or [3, L] (time, height, width) under M-RoPE.

    Worked out once a prompt, by the identity of its ``prompt_ids``: under M-RoPE a GPU would be waited for each time.
    """
    config, device, found_AL = _positions.get(prompt_ids, (None, None, prompt_ids))
    if config is not inner.config or device != inner.device:
        found_AL = _worked_out_positions(inner, prompt_ids, media)
        _positions[prompt_ids] = inner.config, inner.device, found_AL
    return found_AL


def _worked_out_positions(inner: PreTrainedModel, prompt_ids: Tensor, media: Mapping[str, Tensor]) -> Tensor:
    base, L = inner.base_model, len(prompt_ids)
    if not hasattr(base, "get_rope_index"):
        return torch.arange(L, device=inner.device).unsqueeze(0)
    if not shows(media):
        return torch.arange(L, device=inner.device).expand(3, L)
    ids_1L = prompt_ids.to(inner.device).unsqueeze(0)
    taken = accepted(base.get_rope_index, _with_token_types(inner, Group(prompt_ids, media, [prompt_ids])))
    position_31L, _ = base.get_rope_index(input_ids=ids_1L, **taken)
    return position_31L[:, 0]  # type: ignore[no-any-return]


def _check_placeholders(inner: PreTrainedModel, branch_N: Tensor) -> None:
    ids = [getattr(inner.config, f"{kind}_token_id", None) for kind in ("image", "video")]
    found = [i for i in ids if i is not None and bool((branch_N == i).any())]
    if found:
        raise ValueError(
            f"token {found[0]} is a placeholder for images or clips, yet it stands in a completion or ends a prompt, "
            "where none can fill it; ban it while sampling"
        )


def _with_token_types(inner: PreTrainedModel, group: Group) -> dict[str, Tensor]:
    """Media with per-token entries as [1, L]; positions of images (1) and clips (2) are marked if they are not yet."""
    media = media_on(inner, group.media)
    for name in PER_TOKEN:
        if name in media:
            media[name] = media[name].reshape(1, -1)
    if hasattr(inner.base_model, "get_rope_index") and shows(media) and "mm_token_type_ids" not in media:
        ids_1L = group.prompt_ids.to(inner.device).unsqueeze(0)
        clips = (ids_1L == getattr(inner.config, "video_token_id", None)) if "video" in shows(media) else 0
        media["mm_token_type_ids"] = (ids_1L == inner.config.image_token_id).int() + 2 * clips
    return media


def _padded_rows(inner: PreTrainedModel, group: Group, features: MediaFeatures | None) -> tuple[dict[str, Any], int]:
    """Forward's inputs for one group, a row a distinct completion, and the longest completion's length."""
    device, completions = inner.device, group.distinct[0]
    G, L = len(completions), len(group.prompt_ids)
    completion_GC = pad_sequence([ids.to(device) for ids in completions], batch_first=True)
    length_G = torch.tensor([len(ids) for ids in completions], device=device)
    C = completion_GC.shape[1]
    prompt_GL = group.prompt_ids.to(device).expand(G, L)
    mask_GC = (torch.arange(C, device=device) < length_G[:, None]).long()
    inputs: dict[str, Any] = {
        "input_ids": torch.cat([prompt_GL, completion_GC], dim=1),
        "attention_mask": torch.cat([torch.ones_like(prompt_GL), mask_GC], dim=1),
    }
    for name, value in _with_token_types(inner, group).items():
        if name in PER_TOKEN:
            # PaliGemma's type 1 is what it attends to causally; elsewhere 0 is text.
            after = int("paligemma" in inner.config.model_type)
            inputs[name] = torch.cat([value.expand(G, L), value.new_full((G, C), after)], dim=1)
        elif features is None or not name.startswith("pixel"):
            inputs[name] = torch.cat([value] * G)
    if features is not None:
        inputs["mm_encoder_outputs"] = joined([features] * G)
    return inputs, C


def _padded(groups: Sequence[Group], logp_N: Tensor | None, entropy_N: Tensor | None) -> TokenLogps:
    """Spread values in the order group, distinct completion, token over [P, G, T]; repeats get copies."""
    if logp_N is None:
        raise ValueError("no groups")
    G = max(len(group.completion_ids) for group in groups)
    T = max(len(ids) for group in groups for ids in group.completion_ids)
    starts, lengths, at = [], [], 0
    for group in groups:
        completions, place = group.distinct
        *first_U, at = itertools.accumulate(map(len, completions), initial=at)
        missing = [0] * (G - len(place))
        starts.append([first_U[u] for u in place] + missing)
        lengths.append([len(completions[u]) for u in place] + missing)
    step_T = torch.arange(T)
    mask_PGT = step_T < torch.tensor(lengths)[..., None]
    index_M = (torch.tensor(starts)[..., None] + step_T)[mask_PGT].to(logp_N.device)
    mask_PGT = mask_PGT.to(logp_N.device)
    zeros_PGT = logp_N.new_zeros(mask_PGT.shape)

    def spread(value_N: Tensor) -> Tensor:
        return zeros_PGT.masked_scatter(mask_PGT, value_N.index_select(0, index_M))

    return TokenLogps(spread(logp_N), None if entropy_N is None else spread(entropy_N), mask_PGT)
