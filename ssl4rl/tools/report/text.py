"""A run's result in the terminal: before and after, chance beside every number, and a small curve."""

from __future__ import annotations

from collections.abc import Sequence

from ssl4rl.tools.run_log import Measure, Run

_WIDTH, _HEIGHT = 56, 11
_HEAD = ("held out", "accuracy", "95 %", "chance", "unparsed", "truncated", "n")
_PLAIN = str.maketrans({"●": "*", "·": ".", "┄": "-", "│": "|", "└": "+", "─": "-"})


def table(run: Run) -> str:
    """Accuracy before and after with interval, chance, unparsed and truncated shares and n, of each task and stage."""
    lines: list[Sequence[str]] = [_HEAD]
    for stage in run.stages or (run,):
        if run.stages:
            lines.append((f"{stage.name} ({stage.kind})", *[""] * (len(_HEAD) - 1)))
        rows = stage.rows()
        for row in rows:
            if len(rows) > 1:
                lines.append((row.task or "all tasks", *[""] * (len(_HEAD) - 1)))
            if row.before:
                lines.append(_cells(stage.begins, row.before))
            if row.after:
                lines.append(_cells(f"after {row.after.step} step{'s' * (row.after.step != 1)}", row.after))
    width = max(len(line[0]) for line in lines if line[1])
    widths = [width, *(max(len(line[i]) for line in lines) for i in range(1, len(_HEAD)))]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(line[1:], widths[1:], strict=True))])
        if line[1]
        else line[0]
        for line in lines
    )


def _cells(name: str, m: Measure) -> Sequence[str]:
    return (
        *(name, f"{m.accuracy:.3f}", f"{m.low:.3f}-{m.high:.3f}", f"{m.chance:.3g}"),
        *(f"{m.unparsed:.3f}", f"{m.truncated:.3f}", str(m.n)),
    )


def curve(run: Run, encoding: str | None = "utf-8") -> str:
    """Held-out accuracy over GRPO steps in a few lines, the chance level dashed; "" below two evaluations.

    Drawn in ASCII where `encoding` has no finer characters.
    """
    measures = run.curve()
    if len(measures) < 2 or measures[-1].step <= 0:
        return ""
    last, chance = measures[-1].step, sum(m.chance for m in measures) / len(measures)
    grid = [[" "] * _WIDTH for _ in range(_HEIGHT)]
    grid[_line(chance)] = ["┄"] * _WIDTH
    columns = [round((_WIDTH - 1) * m.step / last) for m in measures]
    for (left, a), (right, b) in zip(
        zip(columns, measures, strict=True), zip(columns[1:], measures[1:], strict=True), strict=False
    ):
        for column in range(left + 1, right):
            at = a.accuracy + (b.accuracy - a.accuracy) * (column - left) / (right - left)
            grid[_line(at)][column] = "·"
    for column, m in zip(columns, measures, strict=True):
        grid[_line(m.accuracy)][column] = "●"
    scale = {0: "1.0", (_HEIGHT - 1) // 2: "0.5", _HEIGHT - 1: "0.0"}
    drawn = [f"{scale.get(i, ''):>3} │{''.join(cells).rstrip()}" for i, cells in enumerate(grid)]
    drawn[_line(chance)] = drawn[_line(chance)].ljust(_WIDTH + 5) + f" chance {chance:.3g}"
    what = "steps" if run.stages or run.kind != "grpo" else "GRPO steps"
    axis = "    └" + "─" * _WIDTH + f"\n     0{what:^{_WIDTH - 2 - len(str(last))}} {last}"
    text = "\n".join([*drawn, axis])
    try:
        text.encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return text.translate(_PLAIN)
    return text


def _line(accuracy: float) -> int:
    return round((_HEIGHT - 1) * (1 - min(max(accuracy, 0.0), 1.0)))
