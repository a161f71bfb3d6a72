"""A graph by its path alone (`--data g.graphml`): the extension says which reader."""

from __future__ import annotations

from pathlib import Path

from ssl4rl.core import registry
from ssl4rl.core.source import Source
from ssl4rl.core.types import Ssl4rlError
from ssl4rl.core.uri import missing, split_options
from ssl4rl.graph import SOURCES
from ssl4rl.graph.graph import Rooted
from ssl4rl.graph.sources.files import SCHEME_OF, plain_suffix
from ssl4rl.graph.sources.pyg.raw_layouts import planetoid_prefix, tu_prefix

_OPTIONS = ("nodes", "source", "target", "id", "directed", "weight", "relation")


def open_path(text: str) -> Source[Rooted]:
    """`PATH[?options]`, opened as `scheme:PATH[?options]`.

    A file's scheme is that of its extension (SCHEME_OF; that of a compression is looked past), a folder's is pyg where
    it holds a PyG dataset and npz where it holds .npy arrays.

    Raises:
        Ssl4rlError: there is no such path, or nothing says what it is.
    """
    name, _ = split_options("", text, _OPTIONS)
    path = Path(name).expanduser()
    try:
        there = bool(name) and path.exists()
    except (OSError, ValueError):
        there = False
    if not there:
        raise missing(name[:200], Path(name[:200].replace("\0", "")).expanduser())
    scheme = _of_folder(path) if path.is_dir() else SCHEME_OF.get(plain_suffix(path))
    if scheme is None:
        told = "a folder of .npy arrays or of a PyG dataset" if path.is_dir() else ", ".join(SCHEME_OF)
        raise Ssl4rlError(f"{name!r}: nothing says which reader; allowed: {told}; or name one, as in 'edges:{name}'")

    source: Source[Rooted] = registry.load(SOURCES[scheme])(text)
    return source


def _of_folder(folder: Path) -> str | None:
    if (folder / "indptr.npy").exists():
        return "npz"
    inside = (folder, folder / "raw", *folder.glob("*/raw"))
    raw = any(planetoid_prefix(part) is not None or tu_prefix(part) is not None for part in inside)
    return "pyg" if raw or any(folder.glob("*.pt")) or any(folder.glob("processed/*.pt")) else None
