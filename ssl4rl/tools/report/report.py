"""What a run learnt, or several beside each other (`ssl4rl report`, `ssl4rl.report`): a page, a picture of the curve.

Reads the run's folder only and imports no torch. Rollouts' pictures are made again from their keys, where the source is
still there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssl4rl.core.types import Ssl4rlError
from ssl4rl.tools import charts
from ssl4rl.tools.asked import Place, names
from ssl4rl.tools.page import template
from ssl4rl.tools.report.bench_view import benchmarks
from ssl4rl.tools.report.mixture_view import Mixture, mixture
from ssl4rl.tools.report.rollout_view import Stage, stages
from ssl4rl.tools.report.transfer import transfer
from ssl4rl.tools.run_log import Measure, Row, Run, number, read_run
from ssl4rl.tools.shown import Shown, save

_NOT_COMPARED = ("name", "out")


@dataclass(frozen=True)
class Cost:
    """Where the time went. `phases` are (name, seconds, percent)."""

    phases: Sequence[tuple[str, float, float]]
    seconds: float
    completions: int
    completion_tokens: int
    tokens_per_s: float


@dataclass(frozen=True)
class View:
    """One run as the page shows it."""

    label: str
    colour: int
    run: Run
    rows: Sequence[Row]
    unfinished: str
    mixture: Mixture | None
    stages: Sequence[Stage]
    no_pictures: str
    unusable: Sequence[tuple[str, int]]
    unusable_by_name: Sequence[str]
    versions: Mapping[str, str]
    cost: Cost


@dataclass(frozen=True, repr=False)
class Reported(Shown):
    """One run, finished or not, or several compared.

    `file` is the page, `curve` the picture of the held-out curve: None where it could not be drawn, and `no_curve` says
    why.
    """

    runs: tuple[Run, ...]
    file: Path
    curve: Path | None
    no_curve: str = ""

    @property
    def files(self) -> list[Path]:
        return [self.file, *([self.curve] if self.curve else [])]

    def to_json(self) -> dict[str, Any]:
        return {
            "files": [str(file) for file in self.files],
            "runs": [{"name": run.name, "folder": str(run.folder), "summary": run.summary} for run in self.runs],
        }

    def __str__(self) -> str:
        return "\n".join(str(file) for file in self.files)

    def page(self) -> str:
        return render(self.runs)


def report(runs: Place | Sequence[Place], out: Place | None = None) -> Reported:
    """Writes the report of a run, finished or not, or of several compared: a page, and the curve as a picture.

    Args:
        runs: one or more runs' folders, or what `train` returned.
        out: the page; None is RUN_DIR/report.html, or ./report.html for several. The picture has its name and lies
            beside it, or is RUN_DIR/curve.png.

    Raises:
        Ssl4rlError: a folder holds no run, or a file cannot be written. Without matplotlib, or before anything was
            evaluated, there is no picture.
    """
    found = tuple(read_run(folder) for folder in names(runs))
    if not found:
        raise Ssl4rlError("name at least one run directory")
    single = found[0].folder if len(found) == 1 else None
    page = save(render(found), out or (single or Path()) / "report.html")
    try:
        curve = write_curve(found, single / "curve.png" if single and out is None else page.with_suffix(".png"))
    except Ssl4rlError as error:
        return Reported(found, page, None, str(error))
    return Reported(found, page, curve)


def render(runs: Sequence[Run]) -> str:
    """The page's HTML. Nothing in it is loaded from elsewhere, and every text is escaped."""
    staged = runs[0] if len(runs) == 1 and runs[0].stages else None
    runs = _apart(runs)
    views = [_view(run, label, i) for i, (run, label) in enumerate(zip(runs, labels(runs), strict=True))]
    return template("report/report.html.jinja").render(
        views=views,
        staged=staged,
        held_out=charts.held_out(runs),
        training=charts.training(runs),
        transfer=transfer(runs, labels(runs)),
        benchmarks=benchmarks(runs, labels(runs)),
        differences=_differences(runs),
        when=when,
        clock=clock,
        breakable=breakable,
    )


def _apart(runs: Sequence[Run]) -> list[Run]:
    """The runs, in place of one with stages its stages."""
    return [part for run in runs for part in (run.stages or (run,))]


def write_curve(runs: Sequence[Run], out: Path) -> Path:
    """Writes the held-out curve as a PNG.

    Raises:
        Ssl4rlError: matplotlib is missing, nothing was evaluated, or the file cannot be written.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        raise Ssl4rlError(f"no {out}: it needs matplotlib; pip install 'ssl4rl[report]'") from None
    steps = "GRPO steps" if all(run.kind == "grpo" and not run.stages for run in runs) else "steps"
    runs = _apart(runs)
    plots = charts.held_out(runs)
    if not plots:
        raise Ssl4rlError(f"no {out}: nothing was evaluated yet")
    plot = plots[0]
    figure = Figure(figsize=(7, 4), dpi=160, layout="constrained")
    axes = figure.add_subplot()
    palette = ("#0f6b6b", "#c4572b", "#4a5fc1", "#9a6b00", "#8a3f86", "#4d7c2a")
    with_curve = [label for run, label in zip(runs, labels(runs), strict=True) if run.curve()]
    for line, label in zip(plot.lines, with_curve, strict=True):
        x, low, high = zip(*line.band, strict=True)
        axes.fill_between(x, low, high, color=palette[line.colour], alpha=0.14, linewidth=0)
        axes.plot(
            *zip(*line.points, strict=True),
            color=palette[line.colour],
            marker="o",
            markersize=4,
            label=label,
            clip_on=False,
        )
    for rule in plot.rules:
        colour = "#6a6c72" if rule.colour is None else palette[rule.colour]
        axes.axhline(rule.y, color=colour, linewidth=1, linestyle=(0, (4, 3)))
        above = not plot.below(rule)
        axes.annotate(
            rule.label,
            (1, rule.y),
            xycoords=("axes fraction", "data"),
            xytext=(-4, 4 if above else -4),
            textcoords="offset points",
            ha="right",
            va="bottom" if above else "top",
            color=colour,
            fontsize=9,
        )
    axes.set(xlim=(0, plot.last), ylim=(0, 1), xlabel=steps, ylabel="held-out accuracy")
    axes.spines[["top", "right"]].set_visible(False)
    if len(plot.lines) > 1:
        for text in axes.legend(frameon=False, loc="upper left").get_texts():
            text.set_parse_math(False)
    else:
        axes.set_title(with_curve[0], loc="left", fontsize=11, parse_math=False)
    try:
        FigureCanvasAgg(figure).print_png(str(out))
    except OSError as error:
        raise Ssl4rlError(f"cannot write {str(out)!r}: {error.strerror}") from error
    return out


def labels(runs: Sequence[Run]) -> list[str]:
    """The runs' names, or their folders where names recur."""
    names = [run.name for run in runs]
    return names if len(set(names)) == len(names) else [str(run.folder) for run in runs]


def when(measure: Measure, run: Run, ending: bool) -> str:
    """ "before GRPO", "after 250 steps", "so far, step 175"."""
    if not ending:
        return run.begins
    return f"after {measure.step} step{'s' * (measure.step != 1)}" if run.summary else f"so far, step {measure.step}"


def breakable(task: str) -> str:
    """A task's name that may be broken before its level and after a parameter."""
    return task.replace("[", "\u200b[").replace(",", ",\u200b")


def clock(seconds: float) -> str:
    """ "52 s", "4 min 10 s", "3 h 5 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _view(run: Run, label: str, i: int) -> View:
    shown, no_pictures = stages(run)
    summary = run.summary or {}
    unusable, versions = (_mapping(summary.get(key)) for key in ("unusable", "versions"))
    reasons = {**_mapping(unusable.get("reasons")), "prompt longer than prompt.max_tokens": summary.get("too_long")}
    named = unusable.get("named")
    return View(
        label=label,
        colour=i % charts.COLOURS,
        run=run,
        rows=run.rows(),
        unfinished=_unfinished(run),
        mixture=mixture(run),
        stages=shown,
        no_pictures=no_pictures,
        unusable=[(why, int(count)) for why, value in reasons.items() if (count := number(value))],
        unusable_by_name=[str(line) for line in named] if isinstance(named, list) else [],
        versions=versions,
        cost=cost(run),
    )


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _unfinished(run: Run) -> str:
    if run.summary:
        return ""
    if not run.metrics:
        return "Unfinished: nothing was logged yet."
    if run.done_steps < 0:
        done = run.done_steps + run.warmup_steps
        return f"Unfinished: it stands at step {done} of {run.warmup_steps} of the format warm-up."
    return f"Unfinished: it stands at {'GRPO ' * (run.kind == 'grpo')}step {run.done_steps} of {run.planned_steps}."


def cost(run: Run) -> Cost:
    """Adds up the log's seconds and tokens; what no phase accounts for (loading, checkpoints) is "other"."""
    train = run.phase("train")

    def total(records: Sequence[Mapping[str, Any]], key: str) -> float:
        return sum(number(record.get(key)) or 0.0 for record in records)

    times = [record.get("time") for record in train]
    parts = [time for time in times if isinstance(time, Mapping)]
    seconds = {
        "format warm-up": total(run.phase("warmup"), "step_s"),
        "supervised steps": total(run.phase("supervised"), "step_s"),
        "making prompts": total(parts, "data"),
        "sampling": total(parts, "rollout"),
        "updates": total(parts, "update"),
        "evaluation": total(run.phase("eval"), "step_s"),
    }
    working = seconds["making prompts"] + seconds["sampling"] + seconds["updates"]
    seconds["other"] = max(0.0, run.seconds - sum(seconds.values()))
    whole = sum(seconds.values()) or 1.0
    tokens = int(total(train, "completion_tokens"))
    per_step = run.setting("grpo", "prompts_per_step", 32) * run.setting("grpo", "group_size", 8)
    return Cost(
        phases=[(name, value, round(100 * value / whole, 2)) for name, value in seconds.items() if value > 0],
        seconds=run.seconds,
        completions=len(train) * per_step,
        completion_tokens=tokens,
        tokens_per_s=tokens / working if working else 0.0,
    )


def _differences(runs: Sequence[Run]) -> list[tuple[str, list[str]]]:
    """The recipe's keys that are not the same in all runs, with each run's value."""
    flat = [_flat(run.recipe) for run in runs]
    keys = dict.fromkeys(key for recipe in flat for key in recipe)
    rows = [(key, [recipe.get(key, "") for recipe in flat]) for key in keys if key not in _NOT_COMPARED]
    return [(key, values) for key, values in rows if len(set(values)) > 1]


def _flat(tree: Any, prefix: str = "") -> dict[str, str]:
    if isinstance(tree, Mapping) and tree:
        return {k: v for name, part in tree.items() for k, v in _flat(part, f"{prefix}{name}.").items()}
    if isinstance(tree, list) and any(isinstance(part, Mapping) for part in tree):
        return _flat(dict(enumerate(tree)), prefix)
    return {prefix[:-1]: str(tree)}
