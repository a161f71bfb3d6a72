"""The catalogue: which tasks and sources there are, without importing any of them.

A plugin is a module that holds `TASKS`, a mapping from short name to a task class or a lazy "module:Class" string, and
may hold `SOURCES`, a mapping from URI scheme to an opener (`opener(rest_of_uri) -> Source`) or such a string; the
scheme "" opens plain paths. It is found through the entry-point group `ssl4rl.plugins` or named as a file: `./my.py:TASKS`.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from ssl4rl.core.source import Source
from ssl4rl.core.task import Task
from ssl4rl.core.types import Ssl4rlError, nearest

GROUP = "ssl4rl.plugins"


@dataclass(frozen=True)
class Plugin:
    """One modality's tables. `broken` says why it could not be loaded."""

    name: str
    tasks: Mapping[str, Any] = field(default_factory=dict)
    sources: Mapping[str, Any] = field(default_factory=dict)
    broken: str | None = None


@cache
def plugins() -> Mapping[str, Plugin]:
    """All installed plugins by name. One that fails to load is reported in `broken` and the rest goes on."""
    found = {}
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        try:
            found[point.name] = _plugin(point.name, import_module(point.module), point.attr)
        except Exception as error:  # the one catch-all: somebody else's module may do anything
            found[point.name] = Plugin(point.name, broken=f"{point.value}: {type(error).__name__}: {error}")
    return found


def _plugin(name: str, module: Any, attribute: str) -> Plugin:
    return Plugin(name, getattr(module, attribute), getattr(module, "SOURCES", {}))


@cache
def file_plugin(path: str) -> Plugin:
    """The plugin in a Python file that the user named; its module name is the file's."""
    file = Path(path)
    if not file.is_file():
        raise Ssl4rlError(f"plugin file {path!r} does not exist")
    name = file.stem
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(name, module)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # likewise
        raise Ssl4rlError(f"plugin file {path!r} fails on import: {type(error).__name__}: {error}") from error
    if not hasattr(module, "TASKS"):
        raise Ssl4rlError(f"plugin file {path!r} has no TASKS table")
    return _plugin(name, module, "TASKS")


def task_names() -> list[str]:
    """Full names ("vision/rotation") of all tasks of the installed plugins."""
    return [f"{plugin.name}/{short}" for plugin in plugins().values() for short in plugin.tasks]


def resolve(name: str) -> tuple[Task[Any], Plugin]:
    """A task and the plugin it comes from.

    Args:
        name: "vision/rotation", or "./file.py:TASKS" (the table's only task), or "./file.py:short_name".

    Raises:
        Ssl4rlError: there is no such task, with the nearest name.
    """
    path, colon, short = name.rpartition(":")
    if colon and path.endswith(".py"):
        plugin = file_plugin(path)
        if short == "TASKS" and len(plugin.tasks) == 1:
            short = next(iter(plugin.tasks))
        if short not in plugin.tasks:
            raise Ssl4rlError(f"{path!r} has no task {short!r}; name one of: {', '.join(plugin.tasks)}")
    else:
        modality, _, short = name.partition("/")
        plugin = plugins().get(modality, Plugin(modality))
        if plugin.broken:
            raise Ssl4rlError(f"plugin {modality!r} cannot be loaded: {plugin.broken}")
        if short not in plugin.tasks:
            raise Ssl4rlError(f"unknown task {name!r}{nearest(name, task_names())}")
    return _load(plugin.tasks[short])(), plugin


def open_source(uri: str, plugin: Plugin) -> Source[Any]:
    """The source behind `uri`, opened by `plugin` or, where it lacks the scheme, by any other plugin that has it.

    A URI is "scheme:rest"; without a known scheme it is a path.

    Raises:
        Ssl4rlError: unknown scheme, or whatever the opener finds wrong.
    """
    scheme, colon, rest = uri.partition(":")
    if not colon or "/" in scheme or "\\" in scheme:
        scheme, rest = "", uri
    offers = [plugin, *(p for p in plugins().values() if p.name != plugin.name)]
    for offer in offers:
        if scheme in offer.sources:
            source: Source[Any] = _load(offer.sources[scheme])(rest)
            return source
    schemes = sorted({f"{s}:" for offer in offers for s in offer.sources if s})
    if not scheme:
        raise Ssl4rlError(f"{uri!r}: {plugin.name} tasks read no plain paths; allowed: {', '.join(schemes)}")
    raise Ssl4rlError(f"unknown kind of source {scheme + ':'!r} in {uri!r}{nearest(scheme + ':', schemes)}")


def _load(entry: Any) -> Any:
    """A table's value: itself, or what its "module:attribute" string names."""
    if not isinstance(entry, str):
        return entry
    module, _, attribute = entry.partition(":")
    return getattr(import_module(module), attribute)
