"""What a decoding step costs: kernels and waits on a simulated GPU, CPU time, with a LoRA adapter apart or merged.

    python benchmarks/decoding.py [--layers 36] [--tokens 14] [--rounds 3] [--json benchmarks/results/decoding.json]

A Qwen2-type model of random weights and small widths: the number of kernels depends on the layers alone. Three
completions of each of two prompts. "shared" decodes rows that branch (`cascade`), "static" in steps of one shape, which
a GPU records and replays. Kernels are operators that are no view and no allocation, counted from the fifth token on; a
wait is a place where the device stands still until Python has its answer (tests/core/grpo/simulated). CPU seconds are
process time of all of sampling by the number of steps, in float32, medians over rounds taken in turns.

Long tails: 64 prompts, 8 completions of each, 128 at a time, that end at random (mean length and largest are told): how
many steps the batches take one after another and together (`sharing`), and seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from unittest import mock

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parents[1]))

import torch

from ssl4rl.core.grpo.model.policy import Encoded, Policy, autocast, load_policy
from ssl4rl.core.grpo.model.pretrained import Lora
from ssl4rl.core.grpo.sampling import rollout, sharing
from ssl4rl.core.grpo.sampling.cascade import Cascade
from ssl4rl.core.grpo.sampling.sampler import Sampling
from tests.core.grpo.cases import groups_of
from tests.core.grpo.simulated.gpu import SimGpu, simulated
from tests.tiny_models import build

WARM = 5  # tokens before counting begins
WAYS = {"shared": "sample_of_rows", "static": "sample"}  # and what each calls once a token


def sample(policy: Policy, prompts: list[Encoded], tokens: int, how: str, merging: bool) -> None:
    uniform = torch.rand(2, 3, tokens, generator=torch.Generator().manual_seed(0), dtype=torch.float64).numpy()
    apart = nullcontext() if merging else mock.patch.object(rollout, "merged", return_value=nullcontext())
    with apart, autocast(policy):
        settings = Sampling(max_new_tokens=tokens)
        static = how == "static"
        rollout.generate(policy, prompts, 3, settings, lambda p, g: uniform[p, g], shared=True, static=static)


def opened(folder: Path, lora: bool, device: str) -> tuple[Policy, list[Encoded]]:
    policy = load_policy(str(folder), lora=Lora(r=16) if lora else None, device=device)
    policy.eos_ids = policy.eos_ids[:1]
    return policy, [Encoded(group.prompt_ids, group.media) for group in groups_of("qwen2", folder)[:2]]


def counted(folder: Path, tokens: int, how: str, lora: bool, merging: bool) -> dict[str, Any]:
    """Kernels and waits a token on the simulated GPU."""
    marks: list[tuple[int, int]] = []
    inner = getattr(sharing, WAYS[how])

    def marked(*given: Any) -> Any:
        marks.append((SimGpu.active.launches.total(), SimGpu.active.waits.total()))
        return inner(*given)

    def unrecorded(run: Any, device: Any) -> Any:
        with torch.cuda.graph(torch.cuda.CUDAGraph()):
            run()
        return run

    with (
        simulated(),
        mock.patch.object(sharing, WAYS[how], marked),
        mock.patch("ssl4rl.core.grpo.sampling.static.recorded", unrecorded),
    ):
        policy, prompts = opened(folder, lora, "cuda")
        sample(policy, prompts, tokens, how, merging)
    steps = len(marks) - 1 - WARM
    kernels, waits = ((marks[-1][i] - marks[WARM][i]) / steps for i in (0, 1))
    return {"kernels_a_token": round(kernels, 1), "waits_a_token": round(waits, 2)}


def timed(folder: Path, tokens: int, rounds: int) -> dict[str, float]:
    """CPU seconds a decoding step with the adapter apart and merged."""
    policy, prompts = opened(folder, True, "cpu")
    found: dict[str, list[float]] = {"apart": [], "merged": []}
    for _ in range(rounds + 1):
        for name, seconds in found.items():
            started = time.process_time()
            sample(policy, prompts, tokens, "shared", name == "merged")
            seconds.append((time.process_time() - started) / tokens)
    return {name: round(statistics.median(seconds[1:]), 5) for name, seconds in found.items()}


def tails(folder: Path, static: bool, tokens: int = 1024, ends: int = 3) -> dict[str, Any]:
    """Steps and seconds of four batches of completions whose lengths differ, one after another and together."""
    policy, prompts = opened(folder, False, "cpu")
    policy.eos_ids = [*policy.eos_ids, *range(5, 5 + ends)]
    prompts, G, at_once = prompts * 32, 8, 16
    uniform = torch.rand(
        len(prompts), G, tokens, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    ).numpy()
    told: dict[str, Any] = {"decoder": "static" if static else "shared", "completions": len(prompts) * G}
    for name, size in (("one after another", at_once), ("together", len(prompts))):
        steps, started = mock.Mock(side_effect=Cascade._logits), time.perf_counter()
        with mock.patch.object(Cascade, "_logits", lambda *given, steps=steps: steps(*given)):
            found = [
                row
                for first in range(0, len(prompts), size)
                for row in rollout.generate(
                    policy,
                    prompts[first : first + size],
                    G,
                    Sampling(max_new_tokens=tokens),
                    lambda p, g, first=first: uniform[first + p, g],
                    G * at_once,
                    shared=True,
                    static=static,
                )
            ]
        told[name] = {"steps": steps.call_count, "seconds": round(time.perf_counter() - started, 1)}
        lengths = [len(one.ids) for row in found for one in row]
        told |= {"mean_length": round(sum(lengths) / len(lengths), 1), "longest": max(lengths)}
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=36)
    parser.add_argument("--tokens", type=int, default=14)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        folder = build("qwen2", Path(root) / "model", layers=given.layers)
        rows = []
        for how in WAYS:
            for adapter in ("none", "apart", "merged"):
                numbers = counted(folder, given.tokens, how, adapter != "none", adapter == "merged")
                rows.append({"decoder": how, "adapter": adapter, **numbers})
        seconds = timed(folder, 32, given.rounds)
        long = [tails(build("qwen2", Path(root) / "small", layers=4), how == "static") for how in WAYS]
    print("| decoder | adapter | kernels a token | waits a token |\n|---|---|---|---|")
    for row in rows:
        print(f"| {row['decoder']} | {row['adapter']} | {row['kernels_a_token']} | {row['waits_a_token']} |")
    print(f"CPU seconds a step: adapter apart {seconds['apart']}, merged {seconds['merged']}")
    for one in long:
        print("long tails:", json.dumps(one))
    if given.json:
        result = {"layers": given.layers, "rows": rows, "cpu_seconds_a_step": seconds, "torch": torch.__version__}
        result["long_tails"] = long
        given.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
