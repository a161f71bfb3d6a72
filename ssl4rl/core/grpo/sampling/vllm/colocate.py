"""vLLM in this very process: weights are handed over in memory, and it sleeps while they are trained."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ssl4rl.core.grpo.logps.features import MediaFeatures
from ssl4rl.core.grpo.logps.prefix import inner_model
from ssl4rl.core.grpo.model.policy import Encoded, Policy
from ssl4rl.core.grpo.model.pretrained import is_adapter
from ssl4rl.core.grpo.model.processors import clip_metadata, one_line
from ssl4rl.core.grpo.ranks import Ranks
from ssl4rl.core.grpo.sampling.rollout import Completion, Uniforms
from ssl4rl.core.grpo.sampling.sampler import Sampling
from ssl4rl.core.grpo.sampling.vllm.requests import (
    check_positions,
    check_prompt,
    completions,
    logprobs_mode,
    seed_of,
    settings,
)
from ssl4rl.core.grpo.sampling.vllm.weights import link_weights, whole_weights, write_adapter, write_config
from ssl4rl.core.recipe.recipe import Recipe
from ssl4rl.core.types import Ssl4rlError

REFUSALS = (RuntimeError, ValueError, TypeError, LookupError, AttributeError, AssertionError, ImportError, OSError)
"""What vLLM raises on models and settings that it does not take."""
_KEYS_ON_CPU = 2**30  # bytes of keys and values; vLLM's own default there is a share of all memory
_PICTURES = 64  # a prompt, at most; nothing is reserved for them


def environment() -> None:
    """What must be said before vLLM is imported: one process, where weights can be handed over in memory."""
    os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
    os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")  # else it takes all cores for itself
    os.environ.setdefault("VLLM_ALLOW_INSECURE_SERIALIZATION", "1")  # of tensors, to workers of our own
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")


def engine_arguments(recipe: Recipe, policy: Policy, folder: Path, processes: int) -> dict[str, Any]:
    """The arguments of vLLM's `LLM`; the recipe's own further ones win."""
    section, gpu = recipe.vllm, policy.device.type == "cuda"
    config = inner_model(policy.model).config.get_text_config(decoder=True)
    wanted = recipe.prompt.max_tokens + recipe.sampling.max_new_tokens
    arguments: dict[str, Any] = {
        "model": str(folder),
        "dtype": "bfloat16" if gpu else "float32",
        "seed": recipe.train.seed,
        "max_model_len": min(wanted, getattr(config, "max_position_embeddings", wanted)),
        "enable_prefix_caching": True,
        "generation_config": "vllm",
        "logprobs_mode": logprobs_mode(recipe.sampling.temperature),
        "disable_log_stats": True,
        "tensor_parallel_size": section.tensor_parallel,
    }
    if not policy.encoder.text_only:
        clips = getattr(policy.encoder.processor, "video_processor", None) is not None
        most = {"image": _PICTURES, **({"video": _PICTURES} if clips else {})}
        arguments |= {"limit_mm_per_prompt": most, "skip_mm_profiling": True}
        arguments |= {"mm_processor_cache_gb": 0}  # no picture comes twice
    if gpu:
        arguments |= {"gpu_memory_utilization": section.memory, "enable_sleep_mode": section.sleep}
    else:
        # whole prompts at a time: vLLM 0.32 takes no seeds on a CPU for a prompt that it has cut
        whole = {"enable_chunked_prefill": False, "max_num_batched_tokens": max(4096, arguments["max_model_len"])}
        arguments |= {"enforce_eager": True, **whole}
        if not os.environ.get("VLLM_CPU_KVCACHE_SPACE"):
            arguments |= {"kv_cache_memory_bytes": _KEYS_ON_CPU}
    if processes > 1:
        arguments["distributed_executor_backend"] = "external_launcher"
    if section.lora == "adapter" and is_adapter(policy.model):
        ranks = [config.r for config in policy.model.peft_config.values()]
        arguments |= {"enable_lora": True, "max_loras": 1, "max_lora_rank": _allowed_rank(max(ranks))}
    return arguments | section.further


def _allowed_rank(r: int) -> int:
    """The least of vLLM's ranks that holds an adapter of rank `r`."""
    return next((rank for rank in (8, 16, 32, 64, 128, 256, 320, 512) if rank >= r), r)


@dataclass
class Colocated:
    """A `Backend`: vLLM's engine, here.

    Before the first prompts after a `release` the weights are handed over and cached keys forgotten. On a GPU, where
    the recipe says so, the engine sleeps from a `release` until then.
    """

    policy: Policy
    llm: Any
    adapter: bool
    sleeps: bool
    folder: tempfile.TemporaryDirectory[str]
    stale: bool = True
    updates: int = 0
    asleep: bool = field(default=False, init=False)

    @classmethod
    def open(cls, recipe: Recipe, policy: Policy, ranks: Ranks) -> Colocated:
        """Starts the engine on the weights that training started from.

        Raises:
            Ssl4rlError: vLLM does not take the model or the settings, with its own words.
        """
        environment()
        from vllm import LLM

        folder = tempfile.TemporaryDirectory(prefix="ssl4rl-vllm-")
        arguments = engine_arguments(recipe, policy, Path(folder.name), ranks.size)
        adapter = bool(arguments.get("enable_lora"))
        write_config(policy, Path(folder.name))
        link_weights(policy, Path(folder.name))
        threads = torch.get_num_threads()
        llm = None
        try:
            llm = LLM(**arguments)
            _ask_once(llm, policy)
        except REFUSALS as error:
            _shut(llm)
            folder.cleanup()
            raise Ssl4rlError(f"sampling.backend=vllm: vLLM refuses {policy.name}: {_why(error)}") from error
        finally:
            torch.set_num_threads(threads)
        return cls(policy, llm, adapter, bool(arguments.get("enable_sleep_mode")), folder)

    def complete(
        self,
        prompts: Sequence[Encoded],
        group_size: int,
        sampling: Sampling,
        uniforms: Callable[[int, int], Uniforms] | None = None,
        features: Sequence[MediaFeatures | None] | None = None,
    ) -> list[list[Completion]]:
        """As `Backend` says, `features` apart, in vLLM's arithmetic; each completion with vLLM's log-probs."""
        from vllm import SamplingParams

        self._hand_over()
        if not prompts:
            return []
        parameters = [
            SamplingParams(
                **settings(self.policy, sampling, group_size, seed_of(uniforms, p, sampling)),
                logprobs=0,
                detokenize=False,
            )
            for p in range(len(prompts))
        ]
        for prompt in prompts:
            check_positions(prompt, self.policy)
        asked = [_prompt(prompt, self.policy.encoder.options) for prompt in prompts]
        try:
            answers = self.llm.generate(asked, parameters, use_tqdm=False, lora_request=self._request())
        except REFUSALS as error:
            raise Ssl4rlError(f"{self.policy.name}: vLLM refuses a prompt: {_why(error)}") from error
        found = []
        for prompt, answer in zip(prompts, answers, strict=True):
            check_prompt(prompt, answer.prompt_token_ids, self.policy)
            rows = [(list(one.token_ids), _logps(one)) for one in sorted(answer.outputs, key=lambda one: one.index)]
            found.append(completions(self.policy, rows, {}))
        return found

    def wait_for_others(self) -> None:
        """Nothing: each process has its own engine."""

    def release(self) -> None:
        """The weights are about to change: vLLM's are no longer the policy's, and it sleeps where it can."""
        self.stale = True
        if self.sleeps and not self.asleep:
            self.llm.sleep(level=1)
            self.asleep = True

    def close(self) -> None:
        """Ends the engine."""
        _shut(self.llm)
        self.folder.cleanup()

    def _hand_over(self) -> None:
        if self.asleep:
            self.llm.wake_up()
            self.asleep = False
        if not self.stale:
            return
        self.updates += 1
        if self.adapter:
            write_adapter(self.policy, self._adapter)
        else:
            with whole_weights(self.policy) as weights:
                reload_weights(self.llm, list(weights.items()), packed=self.policy.device.type == "cpu")
        forget_prefixes(self.llm)
        self.stale = False

    @property
    def _adapter(self) -> Path:
        return Path(self.folder.name) / f"adapter-{self.updates}"

    def _request(self) -> Any:
        """The adapter of the last update; vLLM tells them apart by number."""
        if not self.adapter:
            return None
        from vllm.lora.request import LoRARequest

        return LoRARequest(f"update-{self.updates}", self.updates, str(self._adapter))


def _ask_once(llm: Any, policy: Policy) -> None:
    """One token: what vLLM starts with and refuses at its first prompt (a head width on a CPU) must not wait for that,
    which comes after the whole warm-up."""
    from vllm import SamplingParams

    prompt = {"prompt_token_ids": [policy.eos_ids[0]]}
    llm.generate([prompt], [SamplingParams(max_tokens=1, temperature=0.0)], use_tqdm=False, lora_request=None)


def _shut(llm: Any) -> None:
    """Ends an engine, if there is one."""
    engine = getattr(llm, "llm_engine", None)
    shutdown = getattr(getattr(engine, "engine_core", None), "shutdown", None)
    if shutdown is not None:
        shutdown()


def reload_weights(llm: Any, weights: list[tuple[str, Any]], packed: bool) -> None:
    """Gives an engine in this process other weights, by the names of the checkpoint that it was opened with.

    `packed`: on a CPU, where its layers multiply by packed copies and keep nothing that could be loaded into.
    """
    llm.collective_rpc("reload_weights", kwargs={"weights_iterator": weights})
    if packed:
        llm.collective_rpc(_pack_heads)


def forget_prefixes(llm: Any) -> None:
    """Empties an engine's cache of prompts' keys and values, which are of the weights before an update."""
    if llm.reset_prefix_cache() is False:
        raise RuntimeError("vLLM kept keys and values of the weights before the update")


def _pack_heads(worker: Any) -> None:
    """Packs the weights of LM heads anew, which vLLM's CPU kernels multiply by in a copy of another order.

    vLLM 0.32 renews the copy of a layer whose weights it has loaded. A head that is tied to the embedding has none of
    its own to load, and would go on with the copy that it was started with.
    """
    from vllm.model_executor.layers.vocab_parallel_embedding import ParallelLMHead

    for module in worker.model_runner.get_model().modules():
        if isinstance(module, ParallelLMHead) and hasattr(module, "cpu_linear"):
            module.quant_method.process_weights_after_loading(module)


def _prompt(prompt: Encoded, options: Mapping[str, Any]) -> dict[str, Any]:
    """Ids where they are all there is; else text and pictures, which vLLM's processor makes the same ids of."""
    if prompt.asked is None:
        return {"prompt_token_ids": prompt.prompt_ids.tolist()}
    media: dict[str, list[Any]] = {}
    for kind, data in prompt.asked.media:
        media.setdefault(kind, []).append(_frames(data) if kind == "video" else data)
    asked: dict[str, Any] = {"prompt": prompt.asked.text, "multi_modal_data": media}
    options = {**options, "do_sample_frames": False} if "video" in media else options
    return {**asked, "mm_processor_kwargs": dict(options)} if options else asked


def _frames(clip: Sequence[Any]) -> tuple[Any, dict[str, Any]]:
    """A clip as vLLM takes it: uint8 [T, H, W, 3], and what is known of it."""
    return np.stack([np.asarray(frame) for frame in clip]), {**clip_metadata(len(clip)), "do_sample_frames": False}


def _logps(answer: Any) -> list[float]:
    return [step[token].logprob for step, token in zip(answer.logprobs, answer.token_ids, strict=True)]


def _why(error: BaseException) -> str:
    """The line of vLLM's text that says what was wrong: pydantic's stands in the third."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if line.startswith("Value error, ")]
    return told[0].removeprefix("Value error, ").partition(" [type=")[0] if told else one_line(error)
