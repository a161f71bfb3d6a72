"""Line charts for our pages, as numbers a template draws: positions in percent of the plot, so that words stay readable
on a phone while the drawing stretches."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from ssl4rl.tools.run_log import Run, number

Points = Sequence[tuple[float, float]]
_MOST_POINTS = 300
COLOURS = 6


@dataclass(frozen=True)
class Line:
    """One curve. `band` holds (x, low, high); `raw` is drawn faintly behind; `tips` name the points' dots."""

    points: Points
    colour: int = 0
    band: Sequence[tuple[float, float, float]] = ()
    raw: Points = ()
    tips: Sequence[str] = ()


@dataclass(frozen=True)
class Rule:
    """A horizontal line to compare with. `colour` None is neutral; an empty label is none."""

    y: float
    label: str = ""
    colour: int | None = None


@dataclass(frozen=True)
class Plot:
    """Lines over GRPO steps, from 0 to `top` and from 0 to the last step.

    `stacked`: the bands are filled, and the lines left out.
    """

    title: str
    lines: Sequence[Line]
    rules: Sequence[Rule] = ()
    top: float = 1.0
    note: str = ""
    stacked: bool = False

    @property
    def last(self) -> float:
        return max((x for line in self.lines for x, _ in line.points), default=1.0) or 1.0

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Percent from the left and from the top."""
        return round(100 * x / self.last, 2), round(100 * (1 - min(max(y / self.top, 0), 1)), 2)

    def path(self, points: Iterable[tuple[float, float]]) -> str:
        """An SVG path through `points`."""
        return "M" + "L".join("{} {}".format(*self.at(x, y)) for x, y in points)

    def area(self, band: Sequence[tuple[float, float, float]]) -> str:
        """An SVG path around a band."""
        around = [(x, high) for x, _, high in band] + [(x, low) for x, low, _ in reversed(band)]
        return self.path(around) + "Z"

    @property
    def x_ticks(self) -> list[tuple[float, str]]:
        return [(self.at(tick, 0)[0], f"{tick:g}") for tick in ticks(self.last, 5)]

    @property
    def y_ticks(self) -> list[tuple[float, str]]:
        return [(self.at(0, tick)[1], f"{tick:g}") for tick in ticks(self.top, 4)]

    def below(self, rule: Rule) -> bool:
        """Whether a rule's label goes below it, because lines end just above it or the plot does.

        Never where the axis is: a chance of next to nothing lies on it.
        """
        if rule.y < 0.06 * self.top:
            return False
        ends = [line.points[-1][1] for line in self.lines if line.points]
        return any(0 <= end - rule.y < 0.15 * self.top for end in ends) or rule.y > 0.9 * self.top


def ticks(top: float, most: int) -> list[float]:
    """Round numbers from 0 to `top`, at most `most` steps apart."""
    rough = top / most
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * factor for factor in (1, 2, 2.5, 5, 10) if size * factor >= rough * 0.999)
    return [round(step * i, 10) for i in range(int(top / step * 1.0001) + 1)]


def round_up(value: float) -> float:
    """The next number that makes a good end of an axis."""
    if value <= 0:
        return 1.0
    marks = ticks(value, 4)
    return marks[-1] if marks[-1] >= value * 0.999 else marks[-1] + marks[1]


def smooth(points: Points) -> Points:
    """Means over a twentieth of the run around each point."""
    reach = len(points) // 40
    values = [y for _, y in points]
    means = []
    for i, (x, _) in enumerate(points):
        near = values[max(0, i - reach) : i + reach + 1]
        means.append((x, sum(near) / len(near)))
    return means


def thin(points: Points) -> Points:
    """At most a few hundred points: means of equal stretches."""
    size = -(-len(points) // _MOST_POINTS)
    if size <= 1:
        return points
    parts = [points[i : i + size] for i in range(0, len(points), size)]
    return [(part[-1][0], sum(y for _, y in part) / len(part)) for part in parts]


def _three_digits(chances: Iterable[float]) -> float:
    """The mean to three significant digits: it may be 1 in 362,880."""
    return float(f"{fmean(chances):.3g}")


def held_out(runs: Sequence[Run]) -> list[Plot]:
    """Held-out accuracy with its interval and chance: all together, then each task where a run has several."""
    several = [task for run in runs if len(run.tasks) > 1 for task in run.tasks]
    plots = [_held_out(runs, None, "All tasks" if several else "")]
    plots += [_held_out(runs, task, task) for task in dict.fromkeys(several)]
    return [plot for plot in plots if plot.lines]


def _held_out(runs: Sequence[Run], task: str | None, title: str) -> Plot:
    lines = []
    levels: dict[float, list[int]] = {}
    for i, run in enumerate(runs):
        curve = run.curve(task)
        if not curve:
            continue
        levels.setdefault(_three_digits(m.chance for m in curve), []).append(i)
        lines.append(
            Line(
                points=[(m.step, m.accuracy) for m in curve],
                colour=i % COLOURS,
                band=[(m.step, m.low, m.high) for m in curve],
                tips=[
                    f"step {m.step}: {m.accuracy:.3f} ({m.low:.3f} to {m.high:.3f}), chance {m.chance:.3g}, n {m.n}"
                    for m in curve
                ],
            )
        )
    rules = [
        Rule(level, f"chance {level:.3g}", of[0] % COLOURS if len(levels) > 1 else None) for level, of in levels.items()
    ]
    return Plot(title, lines, rules)


def training(runs: Sequence[Run]) -> list[Plot]:
    """Reward, accuracy, format, groups without variance, length of completions and gradient norm over the steps."""
    parts = ("accuracy", "format")
    most = max((sum(run.setting("reward", part, 0.0) for part in parts) for run in runs), default=0) or 1.0
    plots = [
        _training(runs, "Reward", "reward", most),
        _training(runs, "Accuracy while sampling", "accuracy", 1.0),
        _training(runs, "Format valid", "format", 1.0),
        _training(runs, "Groups without variance", "zero_variance", 1.0),
        _training(runs, "Tokens per completion", "completion_tokens", None),
        _training(runs, "Gradient norm", "grad_norm", None),
    ]
    return [plot for plot in plots if plot.lines]


def _training(runs: Sequence[Run], title: str, key: str, top: float | None) -> Plot:
    lines = []
    rules: dict[float, Rule] = {}
    for i, run in enumerate(runs):
        records = run.phase("train")
        share = 1.0
        if key == "completion_tokens":
            share = 1.0 / (run.setting("grpo", "prompts_per_step", 32) * run.setting("grpo", "group_size", 8))
        values = [(int(r["step"]) - run.warmup_steps + run.offset, number(r.get(key))) for r in records]
        points = [(float(step), value * share) for step, value in values if value is not None]
        if not points:
            continue
        raw = thin(points) if len(runs) == 1 else ()
        lines.append(Line(thin(smooth(points)), i % COLOURS, raw=raw))
        chances = [chance for r in records if (chance := number(r.get("chance"))) is not None]
        if key == "accuracy" and chances:
            level = _three_digits(chances)
            rules.setdefault(level, Rule(level, f"chance {level:.3g}", i % COLOURS))
    highest = max((y for line in lines for _, y in (*line.points, *line.raw)), default=1.0)
    neutral = len(rules) == 1
    shown = [Rule(rule.y, rule.label, None if neutral else rule.colour) for rule in rules.values()]
    return Plot(title, lines, shown, top if top is not None and highest <= top else round_up(highest))
