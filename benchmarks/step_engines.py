"""The two engines that step_vs_trl.py compares, each on one case, with their phases timed."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

import datasets
import numpy as np
import torch
import trl
from PIL import Image
from step_models import IMAGE_PX, build
from transformers import TrainerCallback
from transformers.trainer_callback import PrinterCallback

import ssl4rl.core.grpo.trainer as native_trainer
from ssl4rl import Choice, Example, Media, Score, Source, Task
from ssl4rl.core.dataset import Component, TaskDataset
from ssl4rl.core.grpo.model.policy import Encoder, Policy
from ssl4rl.core.grpo.model.pretrained import Lora, prepare
from ssl4rl.core.grpo.update import learner
from ssl4rl.core.prompt import messages
from ssl4rl.core.recipe import make_recipe
from ssl4rl.core.source import Split

PROMPTS = 4
PHASES = ("generate", "reference", "train", "total")
LORA = {"r": 16, "alpha": 32}


@dataclass(frozen=True)
class Case:
    """`prompt_tokens`: about 240 with two pictures, 620 with four. `lora`: on a frozen tower with beta 0.04."""

    model: str = "qwen2_5_vl"
    lora: bool = False
    group: int = 8
    tokens: int = 64
    prompt_tokens: int = 240

    @property
    def name(self) -> str:
        kind = "lora" if self.lora else "full"
        return f"{self.model} {kind} G={self.group} C={self.tokens} P={self.prompt_tokens}"

    @property
    def limit(self) -> float:
        """Tokens through the layers: G (P + C) a prompt in TRL, P + G C with the prompt shared."""
        P, G, C = self.prompt_tokens, self.group, self.tokens
        return G * (P + C) / (P + G * C)


def examples(case: Case, processor: Any, sees: bool) -> list[Example]:
    """PROMPTS prompts of exactly `prompt_tokens` tokens: pictures of noise, and as much text as it takes."""
    rng = np.random.default_rng(0)
    images = (2 if case.prompt_tokens < 400 else 4) if sees else 0
    made = []
    for number in range(PROMPTS):
        noise = rng.integers(0, 255, (images, IMAGE_PX, IMAGE_PX, 3), dtype=np.uint8)
        media = [Media("image", Image.fromarray(pixels)) for pixels in noise]
        encoder = Encoder(processor, text_only=not sees)
        bare = len(encoder.encode(Example((*media, "x"), "A"), "").prompt_ids)
        text = "".join(rng.choice(list("abcdefghij "), case.prompt_tokens - bare))
        made.append(Example((*media, f"x{text}"), "A", meta={"number": number}))
    return made


class Given(Source[Example]):
    """The prompts, as a source."""

    uri = "given:"

    def __init__(self, prompts: list[Example]) -> None:
        self.prompts = prompts

    def __len__(self) -> int:
        return len(self.prompts)

    def __getitem__(self, index: int) -> Example:
        return self.prompts[index]

    def id(self, index: int) -> str:
        return str(index)


class Show(Task[Example]):
    """Sees: noise. Answers: nothing. Reward: every other completion. Chance: 0.5. Shortcuts: none."""

    name, levels, verifier = "bench/show", {"only": {}}, Choice("AB")

    def make(self, items: Sequence[Example], level: Mapping[str, Any], rng: np.random.Generator) -> Example:
        return items[0]


class Fixed(TaskDataset):
    """A few prompts over and over, and rewards that differ in every group."""

    def __init__(self, prompts: list[Example]) -> None:
        task = Show()
        super().__init__([Component(task, task.level(), Split(Given(prompts), "all"))])
        self.calls = count()

    def ask(self, example: Example) -> str:
        return ""

    def score_answer(self, answer: str, example: Example, *, truncated: bool = False) -> Score:
        value = float(next(self.calls) % 2)
        return Score(value, "correct" if value else "wrong", parts={"accuracy": value, "format": 1.0})


class Clock:
    """Seconds by phase, the device's queue emptied at each end."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.spent = device, dict.fromkeys(PHASES, 0.0)

    def now(self) -> float:
        """Seconds: of the GPU's user, or CPU time of the one thread, which a busy machine blurs less."""
        if self.device.type == "cpu":
            return time.process_time()
        torch.cuda.synchronize()
        return time.perf_counter()

    def wrap(self, phase: Callable[[], str | None] | str, call: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            name = phase if isinstance(phase, str) else phase()
            started = self.now()
            try:
                return call(*args, **kwargs)
            finally:
                if name:
                    self.spent[name] += self.now() - started

        return timed

    def take(self) -> dict[str, float]:
        spent, self.spent = self.spent, dict.fromkeys(PHASES, 0.0)
        return spent


class Native:
    """The native engine's trainer on a case; `step` runs one of its steps."""

    def __init__(self, case: Case, device: torch.device, dtype: torch.dtype) -> None:
        model, processor, sees = build(case.model, device, dtype)
        prompts = examples(case, processor, sees)
        if case.lora:
            model = prepare(model, Lora(**LORA), freeze_vision=True, gradient_checkpointing=False)
        recipe = make_recipe(
            {
                "name": "bench",
                "model": {"path": case.model},
                "tasks": [{"task": "bench"}],
                "sampling": {"max_new_tokens": case.tokens},
                "grpo": {
                    "group_size": case.group,
                    "prompts_per_step": PROMPTS,
                    "beta": 0.04 if case.lora else 0.0,
                },
            }
        )
        policy = Policy(model, Encoder(processor, text_only=not sees), case.model, None, device)
        policy.banned_ids = sorted({*policy.banned_ids, *policy.eos_ids})
        self.case, self.clock = case, Clock(device)
        self.trainer = native_trainer.Trainer(recipe, policy, Fixed(prompts), shared=True)

    def step(self) -> dict[str, float]:
        clock, trainer = self.clock, self.trainer
        reference = clock.wrap("reference", learner.frozen_logps)
        train = clock.wrap("train", learner.accumulate)
        with (
            patched(learner, frozen_logps=reference, accumulate=train),
            patched(trainer, sample=clock.wrap("generate", trainer.sample)),
        ):
            metrics, _ = clock.wrap("total", trainer.run_step)()
        expected = PROMPTS * self.case.group * self.case.tokens
        assert metrics["completion_tokens"] == expected, f"{metrics['completion_tokens']} tokens, not {expected}"
        return clock.take()


@contextmanager
def patched(owner: Any, **values: Any) -> Iterator[None]:
    """Attributes of a module or object replaced for a while."""
    before = {name: getattr(owner, name) for name in values}
    for name, value in values.items():
        setattr(owner, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(owner, name, value)


class Theirs:
    """TRL's trainer on a case. `run` calls `between(k, phases)` after its k-th step; `head` is read at each forward."""

    def __init__(self, case: Case, device: torch.device, dtype: torch.dtype, folder: str, steps: int) -> None:
        model, processor, sees = build(case.model, device, dtype)
        prompts = examples(case, processor, sees)
        tokenizer = processor.tokenizer if sees else processor
        peft_config = None
        if case.lora:  # the very same targets
            twin = prepare(build(case.model, device, dtype)[0], Lora(**LORA), True, False)
            peft_config = twin.peft_config["default"]
            peft_config.inference_mode = False
        banned = sorted({*range(tokenizer.eos_token_id, len(tokenizer)), tokenizer.eos_token_id})
        self.case, self.clock, self.head, self.between = case, Clock(device), True, lambda k, phases: None
        args = trl.GRPOConfig(
            output_dir=folder,
            max_steps=steps,
            per_device_train_batch_size=case.group,
            gradient_accumulation_steps=PROMPTS,
            num_generations=case.group,
            max_completion_length=case.tokens,
            beta=0.04 if case.lora else 0.0,
            loss_type="grpo",
            learning_rate=1e-6,
            lr_scheduler_type="constant",
            generation_kwargs={"suppress_tokens": banned},
            shuffle_dataset=False,
            activation_checkpointing=False,
            bf16=device.type == "cuda",
            use_cpu=device.type == "cpu",
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )
        dataset = datasets.Dataset.from_dict({"row": range(PROMPTS * steps)})
        self.trainer = trl.GRPOTrainer(
            model=model,
            reward_funcs=self._reward,
            args=args,
            train_dataset=dataset.with_transform(lambda batch: _columns(batch, prompts, sees)),
            processing_class=processor,
            peft_config=peft_config,
            callbacks=[_Between(self)],
        )
        self.trainer.remove_callback(PrinterCallback)

    def _reward(self, completion_ids: list[list[int]], **others: Any) -> list[float]:
        assert {len(ids) for ids in completion_ids} == {self.case.tokens}, "a completion ended early"
        return [float(number % 2) for number in range(len(completion_ids))]

    def run(self) -> None:
        clock, t = self.clock, self.trainer
        reference = clock.wrap(
            lambda: None if torch.is_grad_enabled() else "reference", t._get_per_token_logps_and_entropies
        )
        utils = sys.modules["trl.trainer.utils"]
        compact = utils._use_triton
        with (
            patched(t, _generate_single_turn=clock.wrap("generate", t._generate_single_turn)),
            patched(t, _get_per_token_logps_and_entropies=reference),
            patched(t, compute_loss=clock.wrap("train", t.compute_loss)),
            patched(t.accelerator, backward=clock.wrap("train", t.accelerator.backward)),
            patched(utils, _use_triton=lambda device: self.head or compact(device)),
        ):
            t.train()


class _Between(TrainerCallback):  # type: ignore[misc]
    def __init__(self, theirs: Theirs) -> None:
        self.theirs, self.started = theirs, 0.0

    def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
        self.started = self.theirs.clock.now()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        total = self.theirs.clock.now() - self.started
        self.theirs.between(state.global_step, self.theirs.clock.take() | {"total": total})


def _columns(batch: dict[str, list[int]], prompts: list[Example], sees: bool) -> dict[str, list[Any]]:
    chosen = [prompts[row % len(prompts)] for row in batch["row"]]
    if not sees:
        return {"prompt": [[{"role": "user", "content": f"{e.prompt[0]}\n"}] for e in chosen]}
    return {
        "prompt": [messages(e, "") for e in chosen],
        "images": [[medium.data for medium in e.media] for e in chosen],
    }
