"""A policy's weights in the words of its checkpoint, and its folder, for an engine that loads models itself."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import torch
from torch import Tensor

from ssl4rl.core import registry
from ssl4rl.core.grpo.logps.prefix import inner_model
from ssl4rl.core.grpo.model.policy import Policy
from ssl4rl.core.grpo.model.pretrained import is_adapter, vision_modules
from ssl4rl.core.grpo.sampling.merged import mergeable, merged
from ssl4rl.core.types import Ssl4rlError

WEIGHTS = "model.safetensors"


@contextmanager
def whole_weights(policy: Policy) -> Iterator[dict[str, Tensor]]:
    """Within this, the weights by their checkpoint's names, the adapter merged into them; no copies where it can be.

    Raises:
        Ssl4rlError: there is no memory to merge the adapter.
    """
    from transformers.core_model_loading import revert_weight_conversion

    layers = mergeable(policy.model) if is_adapter(policy.model) else []
    inner = inner_model(policy.model)
    with torch.no_grad(), merged(policy.model):
        if not all(layer.merged for layer in layers):
            raise Ssl4rlError("vllm.lora=merge: no room to merge the adapter for vLLM; allowed: vllm.lora=adapter")
        named = {
            name.replace(".base_layer.", "."): weight
            for name, weight in inner.state_dict().items()
            if ".lora_" not in name
        }
        yield revert_weight_conversion(inner, _once(named))


def _once(named: dict[str, Tensor]) -> dict[str, Tensor]:
    """Without the second name of a weight that two modules share; checkpoints have the first alone."""
    found: dict[tuple[int, tuple[int, ...]], str] = {}
    for name, weight in named.items():
        found.setdefault((weight.data_ptr(), tuple(weight.shape)), name)
    kept = set(found.values())
    return {name: weight for name, weight in named.items() if name in kept or not weight.numel()}


def write_weights(policy: Policy, folder: Path) -> None:
    """The whole weights as one file in `folder`, which stands there at once."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    with whole_weights(policy) as weights:
        save_file({name: weight.contiguous() for name, weight in weights.items()}, folder / f"{WEIGHTS}.new")
    os.replace(folder / f"{WEIGHTS}.new", folder / WEIGHTS)


def link_weights(policy: Policy, folder: Path) -> None:
    """The weights that the policy was loaded from, an adapter apart: links where they lie on this disk, else a copy.

    An engine must start from some of the model's own: random ones would fill its buffers too (Qwen's picture
    normalisation), which no checkpoint holds and no later handing over mends.
    """
    from transformers.utils import cached_file

    inner = inner_model(policy.model)
    source = str(inner.name_or_path)
    if not source or registry.model_builder(source):
        source = ""
    elif not os.path.isdir(source):
        given = {"revision": getattr(inner.config, "_commit_hash", None), "local_files_only": True}
        quiet = {"_raise_exceptions_for_missing_entries": False, "_raise_exceptions_for_connection_errors": False}
        known = cached_file(source, "config.json", **given, **quiet)
        source = os.path.dirname(known) if known else ""
    files = sorted(Path(source).glob("*.safetensors*")) if source else []
    for file in files:
        (folder / file.name).symlink_to(file.resolve())
    if not files:
        with policy.model.disable_adapter() if is_adapter(policy.model) else nullcontext():
            write_weights(policy, folder)


def write_config(policy: Policy, folder: Path) -> None:
    """All of a model's folder but the weights: config, generation config, processor (with `model.processor`)."""
    inner = inner_model(policy.model)
    config = copy.deepcopy(inner.config)
    config.architectures, config.dtype = [type(inner).__name__], inner.dtype
    folder.mkdir(parents=True, exist_ok=True)
    config.save_pretrained(folder)
    if inner.generation_config is not None:
        inner.generation_config.save_pretrained(folder)
    policy.save_processor(folder)


def write_adapter(policy: Policy, folder: Path) -> None:
    """The adapter alone, in PEFT's format."""
    policy.model.save_pretrained(folder, save_embedding_layers=False)


def check_adapter(policy: Policy, how: str) -> None:
    """Whether vLLM can be given the policy's adapter: within the weights ("merge") or as it is ("adapter").

    Raises:
        Ssl4rlError: the first module where it cannot.
    """
    if not is_adapter(policy.model):
        return
    from peft.tuners.tuners_utils import BaseTunerLayer

    if how == "merge":
        whole = {id(layer) for layer in mergeable(policy.model)}
        for name, module in policy.model.named_modules():
            if isinstance(module, BaseTunerLayer) and id(module) not in whole:
                raise Ssl4rlError(
                    f"vllm.lora=merge: the adapter on {name!r} ({type(module).__name__}) cannot be merged into the "
                    "weights; allowed: vllm.lora=adapter, or another model.lora.target"
                )
        return
    for name, tower in vision_modules(policy.model):
        if any(isinstance(module, BaseTunerLayer) for module in tower.modules()):
            raise Ssl4rlError(
                f"vllm.lora=adapter: vLLM applies no adapter within {name!r}; allowed: vllm.lora=merge, or "
                "model.freeze_vision=true"
            )
