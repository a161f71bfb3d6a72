"""The catalogue: which tasks and sources there are, without importing any of them.

A plugin is a module that holds `TASKS`, a mapping from short name to a task class or a lazy "module:Class" string, and
may hold `SOURCES`, a mapping from URI scheme to an opener (`opener(rest_of_uri) -> Source`) or such a string; the
scheme "" opens plain paths. It may hold `SHOW`, a mapping from a kind of `Media` to a function that turns its data into
a PIL image or a text for people to look at; its entry "drawing" turns what an example has in `meta["drawing"]` (or each
thing in it, where that is a list) into SVG text, shown beside the prompt. `BENCHMARKS` and `CORRUPTIONS` are described
in `core/benchmark.py`. It is found through the entry-point group
`ssl4rl.plugins` or named as a file, `./my.py:TASKS`.
"""

from __future__ import annotations

import difflib
import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from ssl4rl.core.source import Source
from ssl4rl.core.task import Task
from ssl4rl.core.types import Media, Ssl4rlError, nearest

GROUP = "ssl4rl.plugins"
MODELS = "ssl4rl.models"
REWARDS = "ssl4rl.rewards"
LOGGERS = "ssl4rl.loggers"


_FURTHER = ("SOURCES", "SHOW", "BENCHMARKS", "CORRUPTIONS")


@dataclass(frozen=True)
class Plugin:
    """One modality's tables. `broken` says why it could not be loaded."""

    name: str
    tasks: Mapping[str, Any] = field(default_factory=dict)
    sources: Mapping[str, Any] = field(default_factory=dict)
    show: Mapping[str, Any] = field(default_factory=dict)
    benchmarks: Mapping[str, Any] = field(default_factory=dict)
    corruptions: Mapping[str, Any] = field(default_factory=dict)
    broken: str | None = None


@cache
def plugins() -> Mapping[str, Plugin]:
    """All installed plugins by name. One that fails to load is reported in `broken` and the rest goes on."""
    found = {}
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        try:
            found[point.name] = _plugin(point.name, import_module(point.module), point.attr)
        except (Exception, SystemExit) as error:  # the one catch-all: somebody else's module may do anything
            found[point.name] = Plugin(point.name, broken=f"{point.value}: {type(error).__name__}: {error}")
    return found


def _plugin(name: str, module: Any, attribute: str) -> Plugin:
    tables = {"tasks": getattr(module, attribute)}
    tables |= {table.lower(): getattr(module, table, {}) for table in _FURTHER}
    for table, value in tables.items():
        if not isinstance(value, Mapping):
            raise TypeError(f"{table.upper()} is a {type(value).__name__}; allowed: a mapping")
    return Plugin(name, **tables)


@cache
def file_plugin(path: str) -> Plugin:
    """The plugin in a Python file that the user named; its module name is the file's."""
    module = load_file(path)
    name = Path(path).stem
    try:
        return _plugin(name, module, "TASKS")
    except (AttributeError, TypeError) as error:
        if sys.modules.get(name) is module:
            del sys.modules[name]
        raise Ssl4rlError(f"plugin file {path!r} cannot be loaded: {type(error).__name__}: {error}") from error


@cache
def load_file(path: str) -> Any:
    """The module in a Python file that the user named. It may import its neighbours, at once or later.

    Raises:
        Ssl4rlError: there is no such file, or it raises.
    """
    file = Path(path)
    if not file.is_file():
        raise Ssl4rlError(f"plugin file {path!r} does not exist")
    name = file.stem
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(name, module)
    folder = str(file.resolve().parent)
    if folder not in sys.path:  # last: a neighbour hides no installed package
        sys.path.append(folder)
    try:
        spec.loader.exec_module(module)
        return module
    except (Exception, SystemExit) as error:  # likewise
        if sys.modules.get(name) is module:
            del sys.modules[name]
        raise Ssl4rlError(f"plugin file {path!r} cannot be loaded: {type(error).__name__}: {error}") from error


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
    elif name.endswith(".py"):
        raise Ssl4rlError(f"{name!r} is a file; name its table or one of its tasks, as in '{name}:TASKS'")
    else:
        modality, _, short = name.partition("/")
        plugin = plugins().get(modality, Plugin(modality))
        if plugin.broken:
            raise Ssl4rlError(f"plugin {modality!r} cannot be loaded: {plugin.broken}")
        if short not in plugin.tasks:
            raise Ssl4rlError(f"unknown task {name!r}{_nearest_task(name)}")
    return _instance(name, plugin.tasks[short]), plugin


def _nearest_task(name: str) -> str:
    """ "jigsw" alone should find "vision/jigsaw"."""
    names = task_names()
    close = difflib.get_close_matches(name, [full.partition("/")[2] for full in names], n=1)
    full = [known for known in names if close and known.endswith(f"/{close[0]}")]
    return f"; did you mean {full[0]!r}?" if full and "/" not in name else nearest(name, names)


def _instance(name: str, entry: Any) -> Task[Any]:
    kind = load(entry)
    if not (isinstance(kind, type) and issubclass(kind, Task)):
        raise Ssl4rlError(f"task {name!r} is no Task class but {kind!r}")
    try:
        return kind()
    except TypeError as error:  # an abstract method is missing
        raise Ssl4rlError(f"task {name!r} cannot be made: {error}") from error


def expand(name: str) -> list[str]:
    """The tasks that `name` stands for: all of a file's for "./file.py:TASKS", else itself."""
    path, _, short = name.rpartition(":")
    if path.endswith(".py") and short == "TASKS":
        return [f"{path}:{task}" for task in file_plugin(path).tasks]
    return [name]


def open_source(uri: str, plugin: Plugin, like: str = "") -> Source[Any]:
    """The source behind `uri`, opened by `plugin` or, where that may borrow (`_borrows`), by any that has the scheme.

    A URI is "scheme:rest"; without a known scheme it is a path. `like` is the task's own data: a plugin without sources
    reads paths by the modality that reads those, so that photos/ is pictures to a task that stands on "sample:".

    Raises:
        Ssl4rlError: unknown scheme, or whatever the opener finds wrong.
    """
    scheme, rest = _parted(uri)
    others = sorted(plugins().values(), key=lambda p: like.partition(":")[0] not in p.sources)
    offers = [plugin, *(p for p in others if p.name != plugin.name)]
    for offer in offers:
        if not scheme and offer is not plugin and plugin.sources:
            continue  # a plain path means something else to every modality; only a plugin without sources borrows
        if scheme in offer.sources and (offer is plugin or _borrows(plugin)):
            source: Source[Any] = load(offer.sources[scheme])(rest)
            if not source.uri:
                source.uri = uri
            return source
    readable = offers if _borrows(plugin) and not plugin.sources else [plugin]
    schemes = sorted({f"{s}:" for offer in readable for s in offer.sources if s})
    if scheme and any(scheme in offer.sources for offer in offers):
        raise Ssl4rlError(f"{uri!r}: {plugin.name} tasks cannot read {scheme}:; allowed: {', '.join(schemes)}")
    if not scheme:
        raise Ssl4rlError(f"{uri!r}: {plugin.name} tasks read no plain paths; allowed: {', '.join(schemes)}")
    raise Ssl4rlError(f"unknown kind of source {scheme + ':'!r} in {uri!r}{nearest(scheme + ':', schemes)}")


def require_kind(uri: str, kinds: Sequence[str]) -> None:
    """Refuses a URI of another kind than those that a task can read (`Task.kinds`); no kinds: it reads all.

    Raises:
        Ssl4rlError: it is.
    """
    scheme, _ = _parted(uri)
    if kinds and scheme not in kinds:
        what, known = f"{scheme}:" if scheme else "plain paths", sorted(f"{kind}:" for kind in kinds)
        close = nearest(f"{scheme}:", known) if scheme else f"; allowed: {', '.join(known)}"
        raise Ssl4rlError(f"{uri!r}: this task cannot read {what}{close}")


def _parted(uri: str) -> tuple[str, str]:
    """Scheme and rest of a URI; of a plain path the scheme is ""."""
    scheme, colon, rest = uri.partition(":")
    return (scheme, rest) if colon and "/" not in scheme and "\\" not in scheme else ("", uri)


def _borrows(plugin: Plugin) -> bool:
    """Whether a plugin's tasks may read other plugins' sources: a user's file, or a modality without any of its own."""
    return not plugin.sources or plugin is not plugins().get(plugin.name)


def shown(media: Media, plugin: Plugin) -> Any:
    """What people look at in place of `media`: a PIL image, or a text.

    Pictures are themselves; for other kinds the plugin's `SHOW` table is asked, and without an entry it is `str(data)`.
    """
    if media.kind in plugin.show:
        return load(plugin.show[media.kind])(media.data)
    return media.data if media.kind == "image" else str(media.data)


def offered(table: str, key: str) -> Any:
    """What the first installed plugin that has `key` in a table ("benchmarks", "corruptions") offers; None: nobody."""
    entries = (getattr(plugin, table) for plugin in plugins().values())
    return next((load(entry[key]) for entry in entries if key in entry), None)


def model_builder(path: str) -> Callable[[], tuple[Any, Any]] | None:
    """What makes the model that `path` names if a package makes it ("embedded:tiny_vlm"); None for folders and hub ids.

    The entry-point group `ssl4rl.models` holds such packages' builders by scheme: `builder(rest_of_path)` returns a
    transformers model and its processor, or tokenizer for text alone.
    """
    scheme, colon, rest = path.partition(":")
    made = _entries(MODELS) if colon else {}
    return partial(load(made[scheme]), rest) if scheme in made else None


def _entries(group: str) -> dict[str, str]:
    """What installed packages (ours too) offer in an entry-point group: "module:attribute" by name."""
    return {point.name: point.value for point in entry_points(group=group)}


def names(group: str) -> list[str]:
    """The names in an entry-point group."""
    return sorted(_entries(group))


def named_function(name: str, group: str) -> Any:
    """What a recipe names: an entry of the group, "./my.py:attribute" or "module:attribute"; None for any other text.

    Raises:
        Ssl4rlError: the file or module cannot be loaded, or holds no such attribute.
    """
    entries = _entries(group)
    if name in entries:
        return load(entries[name])
    path, colon, attribute = name.rpartition(":")
    if not colon:
        return None
    if not path.endswith(".py"):
        return load(name)
    module = load_file(path)
    if not hasattr(module, attribute):
        public = [known for known in vars(module) if not known.startswith("_")]
        raise Ssl4rlError(f"{path!r} has no {attribute!r}{nearest(attribute, public)}")
    return getattr(module, attribute)


def load(entry: Any) -> Any:
    """A table's value: itself, or what its "module:attribute" string names."""
    if not isinstance(entry, str):
        return entry
    module, _, attribute = entry.partition(":")
    try:
        return getattr(import_module(module), attribute)
    except (Exception, SystemExit) as error:  # likewise; an optional dependency may be missing
        raise Ssl4rlError(f"{entry!r} cannot be loaded: {type(error).__name__}: {error}") from error
