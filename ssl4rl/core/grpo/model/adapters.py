"""A saved PEFT adapter that is trained on: whether it is what the recipe says.

An adapter brings its own rank, scale, dropout and targets, and those are what is trained. A recipe that names others
would be stored with a run that it does not describe, so it is refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ssl4rl.core.grpo.model.pretrained import Lora, vision_modules
from ssl4rl.core.grpo.model.processors import one_line
from ssl4rl.core.types import Ssl4rlError

_SAME = {"r": "r", "alpha": "lora_alpha", "dropout": "lora_dropout"}
_OTHERWISE = {
    "use_dora": (None, False),
    "use_rslora": (None, False),
    "bias": (None, "none"),
    "rank_pattern": (None, {}),
    "alpha_pattern": (None, {}),
    "modules_to_save": (None, []),
    "layer_replication": (None, []),
    "trainable_token_indices": (None, [], {}),
    "target_parameters": (None, []),
}
"""What else an adapter may have, which changes what is trained and no recipe says; and what it is by default."""


def adapter_config(path: str) -> Mapping[str, Any] | None:
    """The config of a folder that holds a PEFT adapter; None for any other path.

    Raises:
        Ssl4rlError: it cannot be read, or names no base model.
    """
    file = Path(path) / "adapter_config.json"
    try:
        if not file.is_file():
            return None
        config = json.loads(file.read_text(encoding="utf-8"))
        config["base_model_name_or_path"] = str(config["base_model_name_or_path"])
    except OSError:  # a name longer than a file's may be
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise Ssl4rlError(
            f"model folder {path!r}: adapter_config.json names no base model: {one_line(error)}"
        ) from None
    return dict(config)


def check_adapter(path: str, config: Mapping[str, Any], lora: Lora) -> None:
    """Whether an adapter's config says what a recipe's model.lora does, targets aside (`check_targets`).

    Raises:
        Ssl4rlError: the first difference.
    """
    kind = config.get("peft_type")
    if kind != "LORA":
        raise _differs(path, f"model.lora: the adapter is of type {kind}")
    for ours, theirs in _SAME.items():
        asked, has = getattr(lora, ours), config.get(theirs)
        if asked != has:
            raise _differs(path, f"model.lora.{ours}={asked}: the adapter has {theirs}={has}")
    for name, usual in _OTHERWISE.items():
        if config.get(name) not in usual:
            raise _differs(path, f"model.lora says nothing of {name}, and the adapter has {config[name]!r}")


def check_targets(path: str, model: Any, lora: Lora, freeze_vision: bool) -> None:
    """Whether an adapter sits on the layers that a recipe's model.lora.target names, no more and no fewer.

    Args:
        path: the adapter's folder, for the message.
        model: the PEFT model it was loaded into.
        lora: the recipe's.
        freeze_vision: then the vision tower's layers are not trained either way, and do not count.

    Raises:
        Ssl4rlError: the first layer that one of both leaves out.
    """
    base = model.get_base_model()
    towers = [name for name, _ in vision_modules(base)] if freeze_vision else []
    for name, adapted, wanted in _layers(base, lora.target):
        if adapted != wanted and not any(f"{name}.".startswith(f"{tower}.") for tower in towers):
            has = "adapts" if adapted else "leaves out"
            raise _differs(path, f"model.lora.target={lora.target!r}: the adapter {has} {name!r}")


def _layers(base: Any, target: str | Sequence[str]) -> Iterator[tuple[str, bool, bool]]:
    """Each layer that could be adapted: its name, whether it is, and whether `target` would have it so, as PEFT reads
    it: "all-linear", a pattern for whole names, or a list of whole names or their ends."""
    import torch
    from peft import LoraConfig
    from peft.tuners.tuners_utils import BaseTunerLayer, check_target_module_exists

    everywhere = isinstance(target, str) and target.lower() == "all-linear"
    config = LoraConfig(target_modules=target if isinstance(target, str) else list(target))
    head = base.get_output_embeddings()
    adapted = [name for name, module in base.named_modules() if isinstance(module, BaseTunerLayer)]
    for name, module in base.named_modules():
        if any(name.startswith(f"{layer}.") for layer in adapted):
            continue  # the parts of an adapted layer
        if name in adapted:
            weight = module.get_base_layer()
        elif next(module.children(), None) is None and next(module.parameters(), None) is not None:
            weight = module
        else:
            continue
        linear = isinstance(weight, torch.nn.Linear) or type(weight).__name__ == "Conv1D"
        wanted = linear and weight is not head if everywhere else bool(check_target_module_exists(config, name))
        yield name, name in adapted, wanted


def _differs(path: str, what: str) -> Ssl4rlError:
    return Ssl4rlError(f"{what}; {path!r} is trained on as it was made: leave model.lora out, or let it agree")
