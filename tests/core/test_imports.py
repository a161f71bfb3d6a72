"""Who may import whom (house style 2), and that importing is cheap (house style 3)."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import ssl4rl

ROOT = Path(ssl4rl.__file__).parent
FORBIDDEN = {
    "core": ["vision", "graph", "tools", "cli"],
    "vision": ["graph", "tools", "cli", "core.grpo"],
    "graph": ["vision", "tools", "cli", "core.grpo"],
    "tools": ["cli"],
}
HEAVY = ["torch", "transformers", "datasets", "accelerate", "peft", "trl", "matplotlib", "torch_geometric"]


def imported(file: Path) -> set[str]:
    """Modules that a file imports at any level, "from a import b" as both a and a.b."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


@pytest.mark.parametrize("package", FORBIDDEN)
def test_imports_run_one_way(package: str) -> None:
    wrong = [
        f"{file.relative_to(ROOT)} imports {module}"
        for file in (ROOT / package).rglob("*.py")
        for module in imported(file)
        for name in FORBIDDEN[package]
        if f"{module}.".startswith(f"ssl4rl.{name}.")
    ]
    assert wrong == []


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
        ("from ssl4rl.cli import run; run(['--help'])", [*HEAVY, "PIL", "numpy", "scipy", "jinja2"]),
        ("from ssl4rl.cli import run; run(['list'])", [*HEAVY, "jinja2"]),
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
