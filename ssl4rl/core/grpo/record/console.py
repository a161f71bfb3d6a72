"""What a person sees of a run and how it is stopped: the progress bar, the first GRPO step's introduction, signals."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ssl4rl.core.grpo.ranks import Ranks
from ssl4rl.core.grpo.sampling.sampled import Rollouts
from ssl4rl.core.grpo.trainer import Trainer

Say = Callable[[str], None]
"""Receives one line at a time of what a person should know."""
Progress = Callable[[dict[str, Any]], None]
"""Moves the bar on by a step, given the step's metrics."""

_ECHO_S = 5.0


class Interrupted(KeyboardInterrupt):
    """The run was stopped; the checkpoint is written and the message says how to go on.

    `status`: the exit status that a shell gives a command which the signal ended.
    """

    def __init__(self, message: str, number: int = signal.SIGINT) -> None:
        super().__init__(message)
        self.status = 128 + number


def silent(line: str) -> None:
    """The `Say` of all processes but the first."""


def introduce(trainer: Trainer, rollouts: Rollouts, say: Say) -> None:
    """At the first GRPO step: one prompt, one completion, its verdict, and whether there is anything to learn from."""
    prompt, completion, score = rollouts.prompts[0], rollouts.completions[0][0], rollouts.scores[0][0]
    text = trainer.policy.encoder.render(prompt.example, trainer.dataset.ask(prompt.example))
    say("first prompt:     " + text.replace("\n", "\n                  "))
    say(f"first completion: {completion.text!r}")
    chance = trainer.dataset.chance(prompt.example)
    detail = f"answer {prompt.example.answer!r}, parsed {score.parsed!r}, chance {chance:.3f}"
    say(f"verdict:          {score.verdict} ({detail})")
    rewards = rollouts.reward_PG
    if trainer.recipe.kind == "grpo" and float(rewards.max() - rewards.min()) < 1e-6:
        unparsed = rollouts.share("unparsed", "truncated")
        say(
            f"WARNING every completion of the first step earned {float(rewards[0, 0]):.2f}: no gradient. "
            f"{unparsed:.0%} were unparsed or truncated; a format warm-up (warmup.steps) or an easier level may help"
        )


class Stopping:
    """Whether a signal has asked to stop; all ranks must call it together."""

    def __init__(self, ranks: Ranks) -> None:
        self._ranks = ranks
        self._heard: list[tuple[int, float]] = []
        self.asked = False

    def __call__(self) -> bool:
        self.asked = self._ranks.any(bool(self._heard))
        return self.asked

    def hear(self, number: int, frame: Any) -> None:
        """The signals' handler. A launcher passes on the Ctrl-C that a terminal has sent to its processes already: that
        one does not count. SIGTERM and SIGHUP often come twice, to the process and to its group."""
        before = [at for known, at in self._heard if known == signal.SIGINT]
        if number == signal.SIGINT and before and (self._ranks.size == 1 or time.monotonic() > before[0] + _ECHO_S):
            raise KeyboardInterrupt
        self._heard.append((number, time.monotonic()))

    def interrupted(self, done: str, what_resuming_does: str = "goes on from here") -> Interrupted:
        """To be raised once everything is written. `done`: how far the run has come."""
        number = int(self._heard[0][0] if self._heard else signal.SIGINT)  # else another rank heard it
        by = "" if number == signal.SIGINT else f" by {signal.Signals(number).name}"
        return Interrupted(f"{done.replace('stopped', f'stopped{by}', 1)}; resume=true {what_resuming_does}", number)


@contextmanager
def stop_after_step(ranks: Ranks) -> Iterator[Stopping]:
    """Ctrl-C, SIGTERM (clusters send it) or SIGHUP (a terminal that is closed) on any rank asks to stop after the step
    in progress; a second Ctrl-C stops at once.

    What was ignored when the process began (`nohup`) stays ignored; Ctrl-C alone is heard all the same.
    """
    stopping = Stopping(ranks)
    before: dict[signal.Signals, Any] = {}
    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if number == signal.SIGINT or signal.getsignal(number) != signal.SIG_IGN:
                before[number] = signal.signal(number, stopping.hear)
    except ValueError:  # not the main thread: no signal is heard here
        yield stopping
        return
    try:
        yield stopping
    finally:
        for known, handler in before.items():
            signal.signal(known, handler)


@contextmanager
def progress_bar(trainer: Trainer, show: bool, say: Say = silent) -> Iterator[Progress]:
    """A bar over the run's steps, from the one that the run is resumed at; else a line every `train.say_every`."""
    from tqdm import tqdm

    every, started, first = trainer.recipe.train.say_every, time.perf_counter(), trainer.step
    with tqdm(
        total=trainer.total_steps, initial=trainer.step, disable=not show, unit="step", dynamic_ncols=True
    ) as bar:

        def update(metrics: dict[str, Any]) -> None:
            phase, told = _told(metrics)
            bar.set_description_str(phase)
            bar.set_postfix_str(told, refresh=False)
            bar.update()
            step = trainer.step
            if not show and every and (step % every == 0 or step == trainer.total_steps):
                a_step = (time.perf_counter() - started) / max(1, step - first)
                left = a_step * (trainer.total_steps - step)
                say(f"{phase} step {step} of {trainer.total_steps}: {told}, {a_step:.2g} s a step, {left:.0f} s to go")

        yield update


def _told(metrics: dict[str, Any]) -> tuple[str, str]:
    """The phase and the figures of a step, as a bar shows them."""
    if metrics["phase"] in ("warmup", "supervised"):
        loss = metrics["loss"]
        return "format warm-up" if metrics[
            "phase"
        ] == "warmup" else "supervised", f"loss {'nan' if loss is None else f'{loss:.3f}'}"
    return "rejection" if "kept" in metrics else "GRPO", (
        f"reward {metrics['reward']:.2f} acc {metrics['accuracy']:.2f} (chance {metrics['chance']:.2f}) "
        f"format {metrics['format']:.2f} zero-var {metrics['zero_variance']:.2f} "
        f"{_refill_text(metrics)}{metrics['tokens_per_s']:.0f} tok/s"
    )


def _refill_text(metrics: dict[str, Any]) -> str:
    return f"groups {metrics['groups']} of {metrics['sampled']} sampled " if "groups" in metrics else ""
