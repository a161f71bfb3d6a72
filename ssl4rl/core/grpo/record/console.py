"""What a person sees of a run and how they stop it: the progress bar, the first GRPO step's introduction, Ctrl-C."""

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
    """The user stopped the run; the checkpoint is written and the message says how to go on."""


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
    if float(rewards.max() - rewards.min()) < 1e-6:
        unparsed = rollouts.share("unparsed", "truncated")
        say(
            f"WARNING every completion of the first step earned {float(rewards[0, 0]):.2f}: no gradient. "
            f"{unparsed:.0%} were unparsed or truncated; a format warm-up (warmup.steps) or an easier level may help"
        )


@contextmanager
def stop_after_step(ranks: Ranks) -> Iterator[Callable[[], bool]]:
    """Ctrl-C on any rank asks to stop after the step in progress; a second one stops at once.

    Yields whether it was asked for, which all ranks must call together. A launcher passes on the Ctrl-C that a terminal
    has sent to its processes already: that one does not count.
    """
    asked: list[float] = []

    def ask(number: int, frame: Any) -> None:
        if asked and (ranks.size == 1 or time.monotonic() > asked[0] + _ECHO_S):
            raise KeyboardInterrupt
        asked.append(time.monotonic())

    try:
        before = signal.signal(signal.SIGINT, ask)
    except ValueError:  # not the main thread: nobody can press Ctrl-C here
        yield lambda: ranks.any(False)
        return
    try:
        yield lambda: ranks.any(bool(asked))
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def progress_bar(trainer: Trainer, show: bool) -> Iterator[Progress]:
    """A bar over the run's steps, from the one that the run is resumed at."""
    from tqdm import tqdm

    with tqdm(
        total=trainer.total_steps, initial=trainer.step, disable=not show, unit="step", dynamic_ncols=True
    ) as bar:

        def update(metrics: dict[str, Any]) -> None:
            if metrics["phase"] == "warmup":
                bar.set_description_str("format warm-up")
                bar.set_postfix_str(f"loss {metrics['loss']:.3f}", refresh=False)
            else:
                bar.set_description_str("GRPO")
                bar.set_postfix_str(
                    f"reward {metrics['reward']:.2f} acc {metrics['accuracy']:.2f} (chance {metrics['chance']:.2f}) "
                    f"format {metrics['format']:.2f} zero-var {metrics['zero_variance']:.2f} "
                    f"{_refill_text(metrics)}"
                    f"{metrics['tokens_per_s']:.0f} tok/s",
                    refresh=False,
                )
            bar.update()

        yield update


def _refill_text(metrics: dict[str, Any]) -> str:
    return f"groups {metrics['groups']} of {metrics['sampled']} sampled " if "groups" in metrics else ""
