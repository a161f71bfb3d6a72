"""One GRPO step of the native engine against one of TRL's GRPOTrainer, on the same machine, in turns.

    taskset -c 1 python benchmarks/step_vs_trl.py [--quick] [--cases NAME ...] [--rounds 3] [--json OUT]
    python benchmarks/step_vs_trl.py --device cuda --model qwen2_5_vl_3b

Both engines get the same random model, the same prompts (two or four pictures of 224 px) and the same settings, and
sample C tokens a completion (the end of turn is banned). They take turns in one process: TRL steps inside
`GRPOTrainer.train()`, and its callback runs the native step between two of them. Phases are timed by wrappers round the
calls that make them up. TRL runs in two ways: as it is, and ("head") with its LM head scoring completion tokens only,
as it does on a GPU; the ratios that count are against the second. Peak memory is that of one micro-batch's forward and
backward pass (one prompt, G completions) beyond what was in use before, each engine in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

if "--device" not in sys.argv:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
import trl
from step_engines import PHASES, PROMPTS, Case, Native, Theirs, learner, patched
from step_models import MODELS

RESULTS = Path(__file__).parent / "results" / "step_vs_trl.json"

CASES = (
    *(Case(tokens=C) for C in (16, 64, 128)),
    *(Case(group=G) for G in (4, 16)),
    Case(prompt_tokens=620),
    *(Case(lora=True, tokens=C) for C in (16, 64, 128)),
    Case(lora=True, group=16),
    Case(lora=True, prompt_tokens=620),
    *(Case(model, lora=lora) for model in ("idefics3", "llama") for lora in (False, True)),
)
QUICK = (Case(group=2, tokens=4), Case(lora=True, group=2, tokens=4))


def measure(
    case: Case, device: torch.device, dtype: torch.dtype, rounds: int, as_is: bool, uncounted: int = 1
) -> dict[str, Any]:
    """Seconds by engine and phase, in `rounds` rounds after `uncounted` ones; each engine takes one step a round."""
    turns = ("head", "as_is") if as_is else ("head",)
    seconds: dict[str, list[dict[str, float]]] = {name: [] for name in (*turns, "native")}
    with tempfile.TemporaryDirectory() as folder:
        native = Native(case, device, dtype)
        theirs = Theirs(case, device, dtype, folder, (rounds + uncounted) * len(turns))

        def between(step: int, phases: dict[str, float]) -> None:
            turn = turns[(step - 1) % len(turns)]
            seconds[turn].append(phases)
            if turn == "head":
                seconds["native"].append(native.step())
            theirs.head = turns[step % len(turns)] == "head"

        theirs.between = between
        theirs.run()
    return summarise(case, {name: values[uncounted:] for name, values in seconds.items()})


def summarise(case: Case, seconds: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    """Medians by engine and phase, and the median over rounds of each round's ratio to the native step."""
    medians = {
        name: {phase: round(statistics.median(v[phase] for v in values), 4) for phase in PHASES}
        for name, values in seconds.items()
    }
    ratios = {
        name: {
            phase: [round(v[phase] / n[phase], 3) for v, n in zip(values, seconds["native"], strict=True) if n[phase]]
            for phase in PHASES
        }
        for name, values in seconds.items()
        if name != "native"
    }
    middle = {
        name: {phase: round(statistics.median(r), 3) for phase, r in by.items() if r} for name, by in ratios.items()
    }
    return {
        **asdict(case),
        "token_limit": round(case.limit, 2),
        "rounds": len(seconds["native"]),
        "seconds": medians,
        "ratio": middle,
        "ratios_by_round": {name: by["total"] for name, by in ratios.items()},
    }


class Peak:
    """MiB that a piece of work needs at its peak beyond what was in use when it began."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.mib = device, 0.0

    def wrap(self, model: Any, call: Callable[..., Any]) -> Callable[..., Any]:
        """`call`, measured; gradients are there before, since every engine needs the same."""

        def measured(*args: Any, **kwargs: Any) -> Any:
            for parameter in model.parameters():
                if parameter.requires_grad and parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
            before = self._start()
            result = call(*args, **kwargs)
            self.mib = max(self.mib, (self._top() - before) / 2**20)
            return result

        return measured

    def _start(self) -> int:
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
            return int(torch.cuda.memory_allocated())
        Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts anew
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

    def _top(self) -> int:
        if self.device.type == "cuda":
            return int(torch.cuda.max_memory_allocated())
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def peak_here(case: Case, engine: str, device: torch.device, dtype: torch.dtype) -> float:
    """Peak MiB of one micro-batch of one prompt: of `native`, or TRL's with its `head` on completions or `as_is`."""
    peak = Peak(device)
    if engine == "native":
        native = Native(case, device, dtype)
        accumulate = learner.accumulate

        def one(policy: Any, logps: Any, batch: Any, *args: Any, **kwargs: Any) -> Any:
            return accumulate(policy, logps, batch.cut([0]), *args, **kwargs)

        with patched(learner, accumulate=peak.wrap(native.trainer.policy.model, one)):
            native.step()
        return peak.mib
    with tempfile.TemporaryDirectory() as folder:
        theirs = Theirs(case, device, dtype, folder, 1)
        theirs.head = engine == "head"
        trainer = theirs.trainer
        step = trainer.compute_loss
        backward = trainer.accelerator.backward

        def both(model: Any, inputs: Any, **kwargs: Any) -> Any:
            loss = step(model, inputs, **kwargs)
            backward(loss)
            return loss.detach().requires_grad_()

        silent = patched(trainer.accelerator, backward=lambda loss, **kwargs: None)
        with patched(trainer, compute_loss=peak.wrap(trainer.model, both)), silent:
            theirs.run()
    return peak.mib


def peaks(case: Case, options: argparse.Namespace, engines: tuple[str, ...]) -> dict[str, float]:
    """Peak MiB by engine, each in a process of its own."""
    found = {}
    for engine in engines:
        command = [sys.executable, __file__, "--device", options.device, "--peak", engine, json.dumps(asdict(case))]
        # every large block by itself, so that what is freed leaves the process and the high-water mark is exact
        environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{case.name}, peak memory of {engine}:\n{done.stderr[-2000:]}")
        found[engine] = round(float(done.stdout.strip().splitlines()[-1]), 1)
    return found


def table(results: list[dict[str, Any]], memory: bool) -> str:
    """The results as Markdown."""
    head = ["case", "generate", "old + ref log-probs", "forward + backward", "total, s", "ratio", "as it is", "tokens"]
    lines = ["| " + " | ".join(head + ["peak, MiB"] * memory) + " |", "|---" * (len(head) + memory) + "|"]
    for r in results:
        cells = [r["name"]]
        ours, theirs = r["seconds"]["native"], r["seconds"]["head"]
        for phase in PHASES:
            ratio = f" ({r['ratio']['head'][phase]:.1f})" if phase in r["ratio"]["head"] and phase != "total" else ""
            cells.append(f"{theirs[phase]:.2f} -> {ours[phase]:.2f}{ratio}" if ours[phase] else "-")
        cells.append(f"**{r['ratio']['head']['total']:.2f}**")
        cells.append(f"{r['ratio']['as_is']['total']:.2f}" if "as_is" in r["ratio"] else "-")
        cells.append(f"{r['token_limit']:.1f}")
        if memory:
            peak = r.get("peak_mib")
            cells.append(
                f"{peak['head']:.0f} -> {peak['native']:.0f} ({peak['native'] / peak['head']:.2f})" if peak else "-"
            )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


BEGIN, END = "<!-- step_vs_trl: begin -->", "<!-- step_vs_trl: end -->"


def write_doc(page: Path, text: str) -> None:
    """Puts the table between the page's markers."""
    content = page.read_text(encoding="utf-8")
    before, after = content.partition(BEGIN)[0], content.partition(END)[2]
    page.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")


def machine(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name()
    return f"one core of a {os.cpu_count()}-vCPU {platform.machine()} machine"


def chosen(options: argparse.Namespace) -> list[Case]:
    """The cases asked for, by a part of their names."""
    cases = list(QUICK if options.quick else CASES)
    if options.model:
        cases = [replace(case, model=options.model) for case in cases if case.model == "qwen2_5_vl"]
    if options.cases:
        cases = [case for case in cases if any(part in case.name for part in options.cases)]
    if not cases:
        raise SystemExit(f"no case matches; there are: {', '.join(case.name for case in CASES)}")
    return cases


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two tiny cases, to see that all parts run")
    parser.add_argument("--cases", nargs="*", help="only cases whose names hold one of these")
    parser.add_argument("--model", choices=MODELS)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--uncounted", type=int, default=1, help="rounds before those that count")
    parser.add_argument("--no-as-is", action="store_true", help="leave out TRL as it is")
    parser.add_argument("--no-memory", action="store_true")
    parser.add_argument("--json", type=Path, default=RESULTS)
    parser.add_argument("--doc", type=Path, help="a page with markers, into which the table goes")
    parser.add_argument("--peak", nargs=2, metavar=("ENGINE", "CASE"), help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    options = arguments()
    device = torch.device(options.device)
    dtype = torch.float32 if device.type == "cpu" else torch.bfloat16
    if device.type == "cpu":
        torch.set_num_threads(1)
    warnings.filterwarnings("ignore", ".*gradient_checkpointing.*", FutureWarning)
    if options.peak:
        print(peak_here(Case(**json.loads(options.peak[1])), options.peak[0], device, dtype))
        return
    results = []
    cases = chosen(options)
    measure(replace(cases[0], group=2, tokens=2), device, dtype, 1, False, 0)  # libraries are loaded and warm after it
    for case in cases:
        as_is = not options.no_as_is
        result = {"name": case.name, **measure(case, device, dtype, options.rounds, as_is, options.uncounted)}
        if not options.no_memory:
            engines = ("native", "head") if options.no_as_is else ("native", "head", "as_is")
            result["peak_mib"] = peaks(case, options, engines)
        results.append(result)
        print(table([result], not options.no_memory).splitlines()[-1], flush=True)
        record = {
            "machine": machine(device),
            "dtype": str(dtype).removeprefix("torch."),
            "prompts_per_step": PROMPTS,
            "versions": {"torch": torch.__version__, "trl": trl.__version__},
            "results": results,
        }
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(record, indent=2) + "\n")  # after each case: a long run may be cut off
    print("\n" + table(results, not options.no_memory))
    if options.doc:
        write_doc(options.doc, f"Measured on {machine(device)}.\n\n{table(results, not options.no_memory)}")


if __name__ == "__main__":
    main()
