"""The part of vLLM's interface that is used, over transformers: for wiring alone (the real one: tests/with_vllm)."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, make_dataclass
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

EngineArgs = make_dataclass(
    "EngineArgs", [(name, Any, None) for name in ("model", "max_num_seqs", "kv_cache_memory_bytes", "seed")]
)


@dataclass
class SamplingParams:
    """With vLLM's names; only what a text model without filters needs is followed."""

    n: int = 1
    seed: int | None = None
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    max_tokens: int = 16
    stop_token_ids: list[int] = field(default_factory=list)
    logit_bias: dict[int, float] = field(default_factory=dict)
    logprobs: int | None = None
    detokenize: bool = True


class LLM:
    """A model of the folder's config with other weights than its own until they are handed over."""

    made: list[LLM] = []

    def __init__(self, **arguments: Any) -> None:
        if arguments.get("max_num_seqs", 0) > 5000:
            raise ValueError("max_num_seqs is too large")
        self.arguments, self.calls = arguments, ["load"]
        folder = Path(arguments["model"])
        self.files = sorted(path.name for path in folder.iterdir())
        self.model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder)).eval()
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.spoil = False  # tokens are added to the prompt
        LLM.made.append(self)

    def collective_rpc(self, method: Any, kwargs: Any = None) -> None:
        if callable(method):  # what is packed for the CPU's kernels is packed anew
            self.calls.append(method.__name__)
            return
        assert method == "reload_weights"
        missing = self.model.load_state_dict(dict(kwargs["weights_iterator"]), strict=False).missing_keys
        assert missing in ([], ["lm_head.weight"])
        self.calls.append("reload")

    def reset_prefix_cache(self) -> bool:
        self.calls.append("reset")
        return True

    def sleep(self, level: int) -> None:
        self.calls.append(f"sleep {level}")

    def wake_up(self) -> None:
        self.calls.append("wake")

    @torch.no_grad()
    def generate(
        self, asked: Sequence[Any], parameters: Sequence[SamplingParams], use_tqdm: bool, lora_request: Any
    ) -> list[Any]:
        self.calls.append("generate")
        found = []
        for prompt, one in zip(asked, parameters, strict=True):
            ids = prompt["prompt_token_ids"]
            outputs = self._sampled(ids, one)[::-1]  # in no order that may be relied on
            found.append(SimpleNamespace(prompt_token_ids=[*ids, 5] if self.spoil else ids, outputs=outputs))
        return found

    def _sampled(self, ids: list[int], one: SamplingParams) -> list[Any]:
        """All samples of a prompt, a token of each at a time."""
        seeds = [None if one.seed is None else one.seed + g for g in range(one.n)]
        rows = [_Row(None if seed is None else torch.Generator().manual_seed(seed)) for seed in seeds]
        for _ in range(one.max_tokens):
            going = [row for row in rows if not row.made or row.made[-1] not in one.stop_token_ids]
            if not going:
                break
            all_logits = self.model(torch.tensor([[*ids, *row.made] for row in going])).logits[:, -1]
            for row, logits in zip(going, all_logits, strict=True):
                logps = logits.log_softmax(-1)
                for token, bias in one.logit_bias.items():
                    logits[token] += bias
                row.draw(logits, logps)
        return [SimpleNamespace(index=g, token_ids=tuple(row.made), logprobs=row.steps) for g, row in enumerate(rows)]


@dataclass
class _Row:
    """A sample as far as it has come; without a generator it takes the likeliest token."""

    generator: torch.Generator | None
    made: list[int] = field(default_factory=list)
    steps: list[dict[int, Any]] = field(default_factory=list)

    def draw(self, logits: torch.Tensor, logps: torch.Tensor) -> None:
        if self.generator is None:
            token = int(logits.argmax())
        else:
            token = int(torch.multinomial(logits.softmax(-1), 1, generator=self.generator))
        self.made.append(token)
        self.steps.append({token: SimpleNamespace(logprob=float(logps[token]))})


def install(monkeypatch: Any) -> type[LLM]:
    """Puts it where `import vllm` finds it."""
    module = ModuleType("vllm")
    module.__spec__ = ModuleSpec("vllm", None)
    vars(module).update(LLM=LLM, SamplingParams=SamplingParams, EngineArgs=EngineArgs)
    monkeypatch.setitem(sys.modules, "vllm", module)
    monkeypatch.setattr(LLM, "made", [])
    return LLM
