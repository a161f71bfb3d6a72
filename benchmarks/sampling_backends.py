"""Tokens a second by the native decoder and by vLLM, in one process, from the same prompts.

    .venv-vllm/bin/python benchmarks/sampling_backends.py [--model embedded:tiny_llama] [--prompts 32] [--group 8]
        [--tokens 32 256 1024] [--rounds 3] [--json benchmarks/results/sampling_backends.json]

Prompts of quickstart_graph, completions of exactly so many tokens (the end of turn is banned), temperature 1, keyed
random numbers in both. Wall seconds, taken in turns after an uncounted call of each; the ratio is the median of those
of the rounds. Handing the weights over is in vLLM's time, as it is in every training step.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import torch
import transformers

from ssl4rl.core.grpo.opening import open_run
from ssl4rl.core.grpo.ranks import ALONE
from ssl4rl.core.grpo.sampling.backend import Backend, Native
from ssl4rl.core.grpo.sampling.rollout import Uniforms
from ssl4rl.core.grpo.sampling.sampler import Sampling
from ssl4rl.core.grpo.trainer import Trainer
from ssl4rl.core.recipe.recipe import load_recipe


def opened(model: str, tokens: int, out: str) -> Trainer:
    """A run of quickstart_graph on `model` with vLLM; the native decoder takes its policy too."""
    changes = {
        "model.path": model,
        "sampling.backend": "vllm",
        "sampling.max_new_tokens": tokens,
        "prompt.max_tokens": 256,
        "train.workers": 0,
        "train.threads": 1,
        "out": out,
    }
    recipe = load_recipe("quickstart_graph", changes)
    trainer = open_run(recipe, ALONE, "cpu", print, lambda run, ranks: None).trainer
    policy = trainer.policy
    policy.banned_ids = sorted({*policy.banned_ids, *policy.eos_ids})
    return trainer


def seconds(backend: Backend, prompts: list[Any], group: int, tokens: int, round_: int) -> float:
    """Of one call; checks that every completion has its length."""
    rng = np.random.default_rng(round_)
    noise = rng.random((len(prompts), group, tokens))

    def uniforms(p: int, g: int) -> Uniforms:
        row: Uniforms = noise[p, g]
        return row

    backend.release()
    started = time.perf_counter()
    found = backend.complete(prompts, group, Sampling(max_new_tokens=tokens), uniforms)
    taken = time.perf_counter() - started
    assert all(len(c.ids) == tokens for row in found for c in row)
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="embedded:tiny_llama")
    parser.add_argument("--prompts", type=int, default=32)
    parser.add_argument("--group", type=int, default=8)
    parser.add_argument("--tokens", type=int, nargs="+", default=[32, 256, 1024])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as out:
        trainer = opened(options.model, max(options.tokens), out)
        native = Native(trainer.policy, trainer.recipe.train.rollout_rows, shared=True)
        backends: dict[str, Backend] = {"native": native, "vllm": trainer.backend}
        prompts = [prompt.encoded for prompt in trainer.stream.take(options.prompts)]
        for backend in backends.values():
            seconds(backend, prompts[:2], options.group, 8, 0)
        results = []
        for tokens in options.tokens:
            taken: dict[str, list[float]] = {name: [] for name in backends}
            for round_ in range(options.rounds):
                for name, backend in backends.items():
                    taken[name].append(seconds(backend, prompts, options.group, tokens, round_))
            ratios = [a / b for a, b in zip(taken["native"], taken["vllm"], strict=True)]
            made = options.prompts * options.group * tokens
            rates = {name: round(made / statistics.median(times), 1) for name, times in taken.items()}
            result = {
                "tokens": tokens,
                "tokens_per_s": rates,
                "native_over_vllm": round(statistics.median(ratios), 2),
                "ratios": [round(ratio, 2) for ratio in ratios],
                "seconds": {name: [round(one, 3) for one in times] for name, times in taken.items()},
            }
            results.append(result)
            print(json.dumps(result), flush=True)
        trainer.backend.close()
    report = {
        "model": options.model,
        "prompts": options.prompts,
        "group": options.group,
        "prompt_tokens": [min(map(len, ids)), max(map(len, ids))] if (ids := [p.prompt_ids for p in prompts]) else [],
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__, "vllm": _vllm_version()},
        "load": list(os.getloadavg()),
        "results": results,
    }
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n")


def _vllm_version() -> str:
    import vllm

    return str(vllm.__version__)


if __name__ == "__main__":
    main()
