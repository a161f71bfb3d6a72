"""What a probe's numbers mean: which levels can be learned now, where to start, what stands in the way. No torch.

The rule is written out in docs/probe.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import yaml

UNREAD = 0.5
"""Share of replies without a readable answer from which the format is the obstacle."""
SOLVED = 0.9
"""Success from which a level is solved."""
LEARNABLE = 0.04
"""Within-group variance from which a level can be learned: p(1-p) of p = 0.042 or 0.958."""
STEP_PROMPTS = 32
WARMUP_STEPS = 40
_SMALL = 50_000_000  # parameters below which a model bears the warm-up's default learning rate
_CAREFUL_LR = 1e-5

Status = Literal["format", "truncated", "solved", "learnable", "settled", "too hard", "not served"]


@dataclass(frozen=True)
class Row:
    """One task at one level. `why` says, where it is not empty, why it could not be measured; all else is then 0.

    `n` prompts with `group` completions each. `success`: share of fully correct completions, `low` and `high` its 95 %
    interval over prompts; `read_success`: among the replies with a readable answer, None without any. `zero_variance`:
    groups whose completions all earned the same accuracy; `signal`: mean unbiased variance of the accuracy within a
    group, p(1-p) for right or wrong. `unusable`: share of draws that gave no example. Seconds are of making and
    sampling one prompt's group.
    """

    task: str
    id: str
    level: str
    data: str
    why: str = ""
    n: int = 0
    group: int = 0
    success: float = 0.0
    low: float = 0.0
    high: float = 1.0
    chance: float = 0.0
    read_success: float | None = None
    unparsed: float = 0.0
    truncated: float = 0.0
    zero_variance: float = 0.0
    signal: float = 0.0
    unusable: float = 0.0
    too_long: int = 0
    prompt_tokens: int = 0
    completion_tokens: float = 0.0
    seconds_per_prompt: float = 0.0

    @property
    def name(self) -> str:
        return f"{self.id}[{self.level}]"

    @property
    def status(self) -> Status:
        if self.why:
            return "not served"
        if self.unparsed + self.truncated > UNREAD:
            return "truncated" if self.truncated > self.unparsed else "format"
        if self.success >= SOLVED:
            return "solved"
        if self.signal >= LEARNABLE:
            return "learnable"
        return "settled" if self.low > self.chance else "too hard"

    @property
    def prompts_for_a_signal(self) -> float | None:
        """Prompts until one group has variance, on average; None where none had."""
        return None if self.zero_variance >= 1 else 1 / (1 - self.zero_variance)

    def to_json(self) -> dict[str, Any]:
        record: dict[str, Any] = {"task": self.id, "level": self.level, "data": self.data, "status": self.status}
        if self.why:
            return {**record, "why": self.why}
        numbers = {name: getattr(self, name) for name in _NUMBERS}
        rounded = {name: float(f"{v:.4g}") if isinstance(v, float) else v for name, v in numbers.items()}
        return {**record, "ci95": [round(self.low, 4), round(self.high, 4)], **rounded}


_NUMBERS = (
    *("n", "group", "success", "chance", "read_success", "unparsed", "truncated", "zero_variance", "signal"),
    *("unusable", "too_long", "prompt_tokens", "completion_tokens", "seconds_per_prompt", "prompts_for_a_signal"),
)


@dataclass(frozen=True)
class Advice:
    """Where to start with one task: `start` is None where nothing can be learned as it is."""

    task: str
    start: Row | None
    why: str
    harder: Sequence[str] = ()

    def to_json(self) -> dict[str, Any]:
        level = self.start.level if self.start else None
        return {"task": self.task, "level": level, "why": self.why, "harder": list(self.harder)}


def advise(rows: Sequence[Row]) -> list[Advice]:
    """One a task, those with the most signal at their starting level first."""
    tasks: dict[str, list[Row]] = {}
    for row in rows:
        tasks.setdefault(row.task, []).append(row)
    found = [_advise(task, part) for task, part in tasks.items()]
    return sorted(found, key=lambda a: -a.start.signal if a.start else 1.0)


def _advise(task: str, rows: Sequence[Row]) -> Advice:
    """`rows` from easy to hard."""
    measured = [row for row in rows if not row.why]
    learnable = [row for row in measured if row.status == "learnable"]
    above = [row for row in learnable if row.low > row.chance]
    if above:
        why = "the hardest level with signal where it does better than guessing"
        return Advice(task, above[-1], why, _after(rows, above[-1]))
    if learnable:
        # a guess's variance tells of the number of answers, and nothing of what there is to learn
        easiest = learnable[0]
        return Advice(task, easiest, "it guesses at every level; this one is the easiest", _after(rows, easiest))
    unread = [row for row in measured if row.status in ("format", "truncated")]
    if unread:
        first = unread[0]
        share = first.unparsed + first.truncated
        read = "no reply could be read"
        if first.read_success is not None:
            read = f"of the answers that could be read {first.read_success:.2f} were right, chance {first.chance:.3g}"
        return Advice(task, first, f"the format is the obstacle: {share:.0%} had no readable answer; {read}")
    if not measured:
        return Advice(task, None, rows[0].why)
    if measured[-1].status == "solved":
        return Advice(task, None, "its hardest level is solved")
    if any(row.status == "settled" for row in measured):
        return Advice(task, None, "nearly all groups agree with themselves; a higher temperature may help")
    return Advice(task, None, "no level that it does not solve gives a signal; an easier level is needed")


def _after(rows: Sequence[Row], start: Row) -> list[str]:
    """The levels above the starting one that are served and not solved: a curriculum's."""
    later = rows[list(rows).index(start) + 1 :]
    return [row.level for row in later if row.status not in ("solved", "not served")]


def recipe_lines(advice: Sequence[Advice], data: str | None, style: str, parameters: int) -> str:
    """YAML to paste into a recipe: the tasks that can be learned now, else those that need the format first."""
    startable = [a for a in advice if a.start]
    ready = [a for a in startable if a.start and a.start.status == "learnable"]
    chosen = ready or startable
    if not chosen:
        return ""
    tree: dict[str, Any] = {"data": data} if data else {}
    tree["tasks"] = [{"task": a.task, "level": a.start.level} for a in chosen if a.start]
    tree["prompt"] = {"style": style}
    if not ready:
        warmup: dict[str, Any] = {"steps": WARMUP_STEPS}
        if parameters > _SMALL:
            warmup["lr"] = _CAREFUL_LR
        tree["warmup"] = warmup
    lines = [yaml.safe_dump(tree, sort_keys=False, allow_unicode=True, width=1000).rstrip()]
    if any(a.harder for a in chosen):
        lines.append("# or, with harder levels to grow into, in place of `level`:")
        lines += [f"#   {a.task}: levels: {[a.start.level, *a.harder]}" for a in chosen if a.start and a.harder]
        lines.append("# curriculum: {strategy: goldilocks}")
    return "\n".join(lines)


def hints(rows: Sequence[Row], advice: Sequence[Advice], style: str) -> Iterator[str]:
    """What a person should know beside the table, a line each."""
    measured = [row for row in rows if not row.why]
    mute = [row.name for row in measured if row.status == "format"]
    shorter = " or prompt.style=answer" if style == "think" else ""
    if mute:
        yield (
            f"the format is an obstacle at {', '.join(mute)}: a short format warm-up (warmup.steps={WARMUP_STEPS}, "
            f"random answers, no task knowledge){shorter} would fix it; probe again after it"
        )
    if any(row.status == "truncated" for row in measured):
        yield (
            f"replies hit the token limit before they answer: a higher --max-new-tokens{shorter} may do; a "
            f"model that never gives an answer needs a format warm-up (warmup.steps={WARMUP_STEPS})"
        )
    for row in measured:
        if row.unusable > 0.5:
            yield f"{row.name}: {row.unusable:.0%} of the draws from this source could not be used"
        if row.too_long:
            yield f"{row.name}: {row.too_long} prompts were too long and left out"
    for start in (one.start for one in advice):
        if start and start.prompts_for_a_signal:
            step_s = STEP_PROMPTS * start.seconds_per_prompt
            yield (
                f"{start.name}: {start.prompts_for_a_signal:.1f} prompts for one group with variance; making and "
                f"sampling a step of {STEP_PROMPTS} prompts x {start.group} takes about {step_s:.3g} s"
            )
