"""Runs a notebook's code cells from top to bottom in one namespace, as a kernel would."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any


def run_notebook(file: Path, **parameters: Any) -> dict[str, Any]:
    """The namespace after the last cell.

    Args:
        file: a notebook of format 4.5.
        parameters: laid over what the cell tagged "parameters" sets, by names that it must set.

    Raises:
        whatever a cell raises; what a cell ends with is shown as a notebook would (`_repr_html_`).
    """
    notebook = json.loads(file.read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    names = [cell["id"] for cell in notebook["cells"]]
    assert len(names) == len(set(names))
    space: dict[str, Any] = {"__name__": "__main__"}
    for cell in notebook["cells"]:
        if cell["cell_type"] != "code":
            continue
        assert cell["outputs"] == [], "outputs are not kept: they go stale"
        body = ast.parse("".join(cell["source"]), filename=f"{file.name}:{cell['id']}").body
        last = body.pop() if body and isinstance(body[-1], ast.Expr) else None
        exec(compile(ast.Module(body, []), file.name, "exec"), space)
        if "parameters" in cell["metadata"].get("tags", ()):
            assert not set(parameters) - set(space), "a parameter that the notebook does not set"
            space |= parameters
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), file.name, "eval"), space)
            if hasattr(value, "_repr_html_"):
                assert value._repr_html_().startswith("<div>")
    return space
