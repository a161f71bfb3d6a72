"""Who may import whom (house style 2): rooms in one order, no circles. And importing is cheap (house style 3)."""

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping, Set
from functools import cache
from pathlib import Path

import networkx as nx
import pytest

import ssl4rl

ROOT = Path(ssl4rl.__file__).parent

ORDER = """
types limits uri verify task near source benchmark registry dataset prompt reward
recipe strategies curriculum mixture |
grpo.ranks grpo.room grpo.workers grpo.model grpo.stream grpo.logps grpo.sampling grpo.update grpo.trainer
grpo.preflight grpo.record grpo.opening grpo.native grpo.stages grpo.trl grpo.run
"""
"""Rooms and single modules of core, each of which may import those before it. Behind the bar the loop begins."""

CONTRACT = [f"core.{name}" for name in ORDER.partition("|")[0].split()]
LOOP = [f"core.{name}" for name in ORDER.partition("|")[2].split()]
TOOLS = ["asked", "catalogue", "run_log", "weights", "charts", "page", "shown"]
TOOLS += ["preview", "check", "audit", "evaluate", "probe", "bench", "report", "plan", "train", "push"]
ROOMS = [
    *CONTRACT,
    *LOOP,
    "export",
    "rewards",
    "vision",
    "video",
    "graph",
    "qa",
    "embedded",
    *(f"tools.{name}" for name in TOOLS),
    "commands",
    "cli",
]

APART = {
    "vision": ["graph", "core.grpo"],
    "video": ["graph", "core.grpo"],
    "graph": ["vision", "video", "core.grpo"],
    "qa": ["video", "graph", "core.grpo"],
    "tools": ["vision", "video", "graph", "qa", "embedded"],
}
"""What a room may not import although it stands before it in the order."""

MOST_MODULES, MOST_LINES = 14, 400
HEAVY = ["torch", "transformers", "datasets", "accelerate", "peft", "trl", "matplotlib", "torch_geometric"]


@cache
def imported(file: Path) -> Set[str]:
    """Modules that a file imports at any level, "from a import b" as both a and a.b."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def name_of(file: Path, root: Path) -> str:
    """ "core.grpo.run" of ssl4rl/core/grpo/run.py; a package's __init__ has the package's name."""
    parts = file.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def arrows(root: Path) -> dict[str, set[str]]:
    """Our modules, each with those that it imports; a package whose modules alone are taken is not among them."""
    files = {name_of(file, root): file for file in root.rglob("*.py")}
    found = {}
    for name, file in files.items():
        inner = {module.removeprefix("ssl4rl.") for module in imported(file) if module.startswith("ssl4rl.")}
        taken = {package: [m for m in inner if m.rpartition(".")[0] == package] for package in inner}
        passed = {package for package, members in taken.items() if members and files.keys() >= set(members)}
        found[name] = (inner & files.keys()) - {name} - passed
    return found


def room(module: str) -> str | None:
    """The room that a module stands in; None for the top of the package and for empty packages."""
    return next((r for r in ROOMS if f"{module}.".startswith(f"{r}.")), None)


def upward(found: Mapping[str, set[str]]) -> Iterator[str]:
    """Imports against the order of rooms."""
    for module, targets in sorted(found.items()):
        for target in sorted(targets):
            here, there = room(module), room(target)
            if here is None or there is None:
                continue
            apart = [f"{a}." for start, names in APART.items() if f"{module}.".startswith(f"{start}.") for a in names]
            if ROOMS.index(there) > ROOMS.index(here) or any(f"{target}.".startswith(a) for a in apart):
                yield f"{module} imports {target}"


def circles(found: Mapping[str, set[str]]) -> list[list[str]]:
    """Modules that import each other, by whatever way round; a package and what is in it count as one chain."""
    graph = nx.DiGraph([(module, target) for module, targets in found.items() for target in targets])
    return sorted(sorted(part) for part in nx.strongly_connected_components(graph) if len(part) > 1)


def test_imports_run_one_way() -> None:
    assert list(upward(arrows(ROOT))) == []


def test_no_module_imports_itself_by_a_circle() -> None:
    assert circles(arrows(ROOT)) == []


def test_every_module_has_a_room() -> None:
    homeless = {module for module in arrows(ROOT) if room(module) is None}
    assert homeless == {"", "__main__", "core", "core.grpo", "tools"}


@pytest.mark.parametrize(
    ("module", "target"),
    [
        ("core.grpo.sampling.cascade", "core.grpo.trainer"),
        ("core.task", "core.grpo.ranks"),
        ("core.grpo.model.pretrained", "embedded.models"),
        ("vision.tasks.rotation", "graph.graph"),
        ("graph.tasks.hops", "core.grpo.ranks"),
        ("tools.audit.audit", "tools.report.report"),
        ("tools.shown", "tools.preview.preview"),
        ("tools.report.report", "tools.train"),
    ],
)
def test_a_planted_wrong_import_is_found(module: str, target: str) -> None:
    found = arrows(ROOT)
    assert list(upward({**found, module: {*found[module], target}})) == [f"{module} imports {target}"]


def test_a_planted_circle_is_found(tmp_path: Path) -> None:
    lines = {"a": "from ssl4rl.b import y", "b": "def f():\n    from ssl4rl import c", "c": "import ssl4rl.a"}
    for name, line in lines.items():
        (tmp_path / f"{name}.py").write_text(line)
    assert circles(arrows(tmp_path)) == [["a", "b", "c"]]


def test_rooms_can_be_overseen() -> None:
    """A folder has about a dozen modules, and a module one idea (house style 11)."""
    folders: dict[str, int] = {}
    for file in ROOT.rglob("*.py"):
        folders[str(file.parent)] = folders.get(str(file.parent), 0) + (file.name != "__init__.py")
        assert len(file.read_text().splitlines()) <= MOST_LINES, file
    assert {folder: n for folder, n in folders.items() if n > MOST_MODULES} == {}


def test_a_room_says_what_comes_in_and_what_goes_out() -> None:
    for init in ROOT.rglob("__init__.py"):
        doc = ast.get_docstring(ast.parse(init.read_text()))
        assert doc, init
        if "grpo" in init.parts or "tools" in init.parts:
            assert doc.count(".") >= 2, f"{init}: two sentences at least"


def test_core_without_grpo_imports_no_torch_and_no_model() -> None:
    files = [file for file in (ROOT / "core").rglob("*.py") if "grpo" not in file.parts]
    wrong = [
        (file.name, module)
        for file in files
        for module in imported(file)
        if module.split(".")[0] in HEAVY or "embedded" in module
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import ssl4rl", [*HEAVY, "PIL", "numpy", "scipy", "click"]),
        ("import ssl4rl; ssl4rl.create_dataset, ssl4rl.Choice, dir(ssl4rl)", [*HEAVY, "PIL", "scipy"]),
        ("import ssl4rl; [getattr(ssl4rl, name) for name in ssl4rl.__all__]", [*HEAVY, "sklearn"]),
        ("from ssl4rl.cli import run; run(['--help'])", [*HEAVY, "PIL", "numpy", "scipy", "jinja2"]),
        ("from ssl4rl.cli import run; run(['list'])", [*HEAVY, "jinja2"]),
        ("from ssl4rl.cli import run; run(['list', '--recipes'])", [*HEAVY, "jinja2", "pydantic"]),
        ("from ssl4rl.cli import run; run(['train', 'nothing'])", HEAVY),
        ("from ssl4rl.cli import run; run(['preview', 'nothing'])", HEAVY),
    ],
)
def test_importing_is_cheap(code: str, absent: list[str]) -> None:
    probe = f"{code}\nimport sys; print('LOADED', *sorted(set({absent!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "LOADED"


def test_public_names_are_what_they_say() -> None:
    for name in ssl4rl.__all__:
        assert getattr(ssl4rl, name).__name__ == name
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = ssl4rl.nothing
