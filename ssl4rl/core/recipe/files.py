"""From a recipe's name, path or plain values, and overrides, to one tree of plain values. Light: no types are checked.

`recipe.py` makes a typed recipe of the tree.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ssl4rl.core.recipe.plain_yaml import MAX_BYTES, number, read_yaml
from ssl4rl.core.types import Ssl4rlError, nearest, shortened

SHIPPED = Path(__file__).parents[2] / "recipes"
"""The recipes that come with the package."""

Overrides = Sequence[str] | Mapping[str, Any]
"""`section.key=value` texts, whose values are YAML; or values by key, `{"train.steps": 20}` or
`{"train": {"steps": 20}}`."""


def shipped() -> dict[str, Path]:
    """The recipes that come with the package, by name."""
    return {file.stem: file for file in sorted(SHIPPED.glob("*.yaml"))}


def headline(file: Path) -> str:
    """The first line of a recipe's opening comment, "" without one."""
    with file.open(encoding="utf-8") as lines:
        first = lines.readline()
    return first.lstrip("# ").rstrip() if first.startswith("#") else ""


def read_tree(recipe: str | os.PathLike[str]) -> dict[str, Any]:
    """What a recipe file says. A path to a file wins; a bare name without one is that of a recipe of the package.

    Raises:
        Ssl4rlError: there is no such file or name (with the nearest), or it is not YAML with keys.
    """
    where = f"recipe {shortened(str(recipe))!r}"
    tree = read_yaml(_content(_find(Path(recipe)), where), where)
    if tree is None:
        raise Ssl4rlError(f"{where} is empty")
    if not isinstance(tree, dict):
        raise Ssl4rlError(f"{where} holds {type(tree).__name__}, not keys and values")
    return tree


def _content(file: Path, where: str) -> bytes:
    """A file's bytes, at most one more than YAML takes. A pipe is read where a shell holds it open: <(command)."""
    try:
        if file.is_fifo() and file.parts[1:2] not in (("dev",), ("proc",)):
            raise Ssl4rlError(f"{where} is a pipe that nobody may write to; allowed: a file")
        with file.open("rb") as stream:
            return stream.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # a name with a zero byte is a ValueError
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise Ssl4rlError(f"{where} cannot be read: {why}{_nearest_file(file)}") from None


def _find(path: Path) -> Path:
    """The file that `path` names."""
    bare = len(path.parts) == 1 and path.suffix not in (".yaml", ".yml")
    if not bare or os.path.isfile(path):
        return path
    ours = shipped()
    if path.name not in ours:
        raise Ssl4rlError(f"unknown recipe {shortened(path.name)!r}{nearest(path.name, ours)}")
    return ours[path.name]


def _nearest_file(file: Path) -> str:
    """A recipe beside the one that was asked for, else one of the package by its name."""
    beside = sorted(p.name for p in file.parent.glob("*.y*ml")) if os.path.isdir(file.parent) else []
    near = nearest(file.name, beside)
    ours = nearest(file.stem, shipped())
    return ours if "did you mean" in ours and "did you mean" not in near else near


def override(tree: dict[str, Any], overrides: Overrides) -> list[tuple[str, ...]]:
    """Sets keys of the tree. A mapping as a value is laid over the section's keys; every other value takes the place
    of what was there, lists too.

    Returns:
        The paths of the keys that were set.

    Raises:
        Ssl4rlError: an override without a value, one that is not YAML, or a position beyond the end of a list.
    """
    pairs: Iterable[tuple[str, Any, str]]
    if isinstance(overrides, Mapping):
        pairs = ((key, plain(value), f"{key}={value!r}") for key, value in overrides.items())
    else:
        pairs = (_parse(text) for text in overrides)
    paths: list[tuple[str, ...]] = []
    for key, value, shown in pairs:
        path = tuple(str(key).split("."))
        _set(tree, path, value, shown, merge=isinstance(overrides, Mapping))
        paths += _leaves(path, value) if isinstance(overrides, Mapping) else [path]
    return paths


def _leaves(path: tuple[str, ...], value: Any) -> list[tuple[str, ...]]:
    if not isinstance(value, Mapping):
        return [path]
    return [leaf for key, part in value.items() for leaf in _leaves((*path, str(key)), part)]


def plain(value: Any) -> Any:
    """Paths as texts, all the way down, and mappings as new ones."""
    if isinstance(value, Mapping):
        return {key: plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def _parse(text: str) -> tuple[str, Any, str]:
    key, found, value = text.partition("=")
    if not found:
        raise Ssl4rlError(f"override {shortened(text)!r}: write it as section.key=value")
    # "scenes:" is a source and not a mapping without a value
    read = value if value.endswith(":") else number(read_yaml(value, f"override {shortened(text)!r}"))
    return key, read, text


def _set(tree: Any, path: Sequence[str], value: Any, shown: str, merge: bool) -> None:
    """Sets one key; sections that are not there yet are made."""
    *sections, last = path
    at: Any
    for place, part in enumerate(sections):
        at = _position(tree, part, shown) if isinstance(tree, list) else part
        inner = tree[at] if isinstance(tree, list) else tree.get(at)
        if inner is None and isinstance(tree, dict):
            inner = tree[at] = {}
        if not isinstance(inner, dict | list):
            above = ".".join(sections[: place + 1])
            raise Ssl4rlError(
                f"override {shortened(shown)!r}: {shortened(above)!r} is {shortened(repr(inner))} and holds no keys"
            )
        tree = inner
    at = _position(tree, last, shown) if isinstance(tree, list) else last
    before = tree[at] if isinstance(tree, list) else tree.get(at)
    if merge and isinstance(value, dict) and isinstance(before, dict):
        for key, part in value.items():
            _set(before, [str(key)], part, shown, merge)
    else:
        tree[at] = value


def _position(items: Sequence[Any], part: str, shown: str) -> int:
    if part.isdecimal() and len(part) < 10 and int(part) < len(items):
        return int(part)
    raise Ssl4rlError(
        f"override {shortened(shown)!r}: {shortened(part)!r} is no position in a list of {len(items)}"
        + (f"; allowed: 0 to {len(items) - 1}" if items else "")
    )
