"""The file that a graph source's URI names: found, opened, decompressed and counted, once for all readers."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from ssl4rl.core.limits import MIB, BoundedReader, Budget, exceeded, limit, open_regular, require_regular
from ssl4rl.core.types import Ssl4rlError, nearest
from ssl4rl.core.uri import missing, split_options

SCHEME_OF = {
    ".graphml": "graphml",
    ".gml": "gml",
    ".gexf": "gexf",
    ".csv": "edges",
    ".tsv": "edges",
    ".npz": "npz",
    ".npy": "npz",
    ".pt": "pyg",
    ".edgelist": "edgelist",
    ".adjlist": "adjlist",
    ".mtx": "mtx",
}
"""File extension -> URI scheme: what a plain path is read by, and what messages suggest."""

COMPRESSED = (".gz", ".bz2", ".xz")
_MAGIC: Sequence[tuple[bytes, Any]] = (*((b"\x1f\x8b", gzip.open), (b"BZh", bz2.open), (b"\xfd7zXZ\x00", lzma.open)),)
_BUFFER = 1 << 17
_ZIP_DIRECTORY = 1 << 22
_T = TypeVar("_T")

_UTF16 = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True)
class Input:
    """A file that a URI names, not opened yet.

    `options` are the URI's; `budget` counts the memory that what is read from it (and from files beside it) takes,
    `work` the steps of what is no plain line of text.
    """

    scheme: str
    uri: str
    path: Path
    options: Mapping[str, str]
    budget: Budget
    work: Budget

    @contextmanager
    def opened(self) -> Iterator[BinaryIO]:
        """Its bytes, decompressed where its first ones say gzip, bzip2 or xz, and counted as they come.

        Raises:
            Ssl4rlError: it is no regular file, cannot be read, is broken, or holds more than `decoded_mib`.
        """
        with reading(self.uri, self.path), open_regular(self.uri, self.path) as file:
            start = file.read(6)
            file.seek(0)
            opener = next((opener for magic, opener in _MAGIC if start.startswith(magic)), None)
            raw = file if opener is None else opener(file, "rb")
            with io.BufferedReader(BoundedReader(raw, Budget(self.uri, "decoded_mib")), _BUFFER) as counted:
                yield counted

    def lines(self) -> Iterator[str]:
        """Its lines of text (UTF-8, or UTF-16 with its mark), each with its end as it stands.

        Raises:
            Ssl4rlError: as `opened`; no text; a line longer than `line_mib`.
        """
        longest, most = limit("line_mib") * MIB, limit("lines")
        with self.opened() as file:
            encoding = "utf-16" if file.peek(2)[:2] in _UTF16 else "utf-8-sig"  # type: ignore[attr-defined]
            text = io.TextIOWrapper(file, encoding=encoding, newline="")
            for number in count():
                line = text.readline(longest)
                if not line:
                    return
                if len(line) == longest:
                    raise exceeded(self.uri, "line_mib", "a line")
                if number == most:
                    raise exceeded(self.uri, "lines")
                yield line

    def refuse_other_formats(self, wanted: str) -> None:
        """Refuses what lines of text cannot be, by the first bytes."""
        with self.opened() as file:
            kind = foreign(file.read(512))
        if kind is not None:
            raise Ssl4rlError(f"{self.uri!r} is no {wanted} but {kind}{suggestion(self.scheme, self.path)}")

    def unreadable(self, why: object) -> Ssl4rlError:
        """The error for a file that is not what its scheme reads."""
        shown = " ".join(str(why).split())[:120]
        return Ssl4rlError(
            f"{self.uri!r} cannot be read as {self.scheme} ({shown}){suggestion(self.scheme, self.path)}"
        )

    def at(self, path: Path) -> Input:
        """Another file that belongs to it, counted with it."""
        return Input(self.scheme, self.uri, path, {}, self.budget, self.work)

    def beside(self, name: str) -> Input:
        """A file named in an option: relative to this one's folder, else to the working directory."""
        for candidate in (self.path.parent / Path(name).expanduser(), Path(name).expanduser()):
            if candidate.exists() and not candidate.is_dir():
                return self.at(candidate)
        raise missing(name, self.path.parent / Path(name).expanduser(), f"{self.uri!r}: node table ")


def find(scheme: str, text: str, options: Sequence[str], example: str, folders: bool = False) -> Input:
    """What `scheme:text` names, with its options.

    Args:
        scheme: of the URI.
        text: what follows the colon, "FILE?name=value&..".
        options: the names allowed after the question mark.
        example: a file's name for messages.
        folders: whether it may be a folder.

    Raises:
        Ssl4rlError: an unknown option, no such file (with the nearest name), or no regular one.
    """
    uri = f"{scheme}:{text}"
    name, given = split_options(scheme, text, options)
    if not name:
        raise Ssl4rlError(f"'{scheme}:' names no file; for example {scheme}:{example}")
    path = Path(name).expanduser()
    try:
        there = path.exists()
    except (OSError, ValueError) as error:  # a name that is too long, or holds a NUL
        raise Ssl4rlError(f"{uri[:80]!r} is no path ({error.args[-1] if error.args else error})"[:300]) from None
    if not there:
        raise missing(f"{scheme}:{name}", path)
    if path.is_dir() and not folders:
        raise Ssl4rlError(f"'{scheme}:{name}' is a folder; for example {scheme}:{example}")
    if not path.is_dir():
        require_regular(uri, path)
    return Input(scheme, uri, path, given, Budget(uri, "graph_mib"), Budget(uri, "text_steps"))


def check_zip_directory(uri: str, file: BinaryIO) -> None:
    """Refuses a zip archive whose directory, which is read whole to open it, is larger than arrays need.

    A file without one passes: the reader says that it is none.
    """
    end = file.seek(0, io.SEEK_END)
    file.seek(max(0, end - (1 << 16) - 22))
    tail = file.read()
    at = tail.rfind(b"PK\x05\x06")
    size = int.from_bytes(tail[at + 12 : at + 16], "little") if at >= 0 else 0
    locator = tail[max(0, at - 20) : at] if at >= 20 else b""
    if locator.startswith(b"PK\x06\x07"):
        file.seek(min(end, int.from_bytes(locator[8:16], "little")))
        size = max(size % 0xFFFFFFFF, int.from_bytes(file.read(56)[40:48], "little"))
    file.seek(0)
    if size > _ZIP_DIRECTORY:
        raise Ssl4rlError(f"{uri!r}: the archive's directory takes {size} bytes; allowed: {_ZIP_DIRECTORY}")


def plain_suffix(path: Path) -> str:
    """The extension in lower case, without that of a compression: ".graphml" of "G.graphml.gz"."""
    return Path(path.stem).suffix.lower() if path.suffix.lower() in COMPRESSED else path.suffix.lower()


def suggestion(scheme: str, path: Path) -> str:
    """The tail of a message about a file of another format: the scheme that its extension calls for."""
    other = SCHEME_OF.get(plain_suffix(path))
    return f"; did you mean '{other}:{path}'?" if other and other != scheme else ""


def foreign(start: bytes) -> str | None:
    """What a file that should be lines of text is instead, by its first bytes."""
    if start.startswith(_UTF16):
        return None
    if b"\0" in start:
        return "binary"
    if re.match(rb"\s*<(\?xml|!DOCTYPE|!--|html|graphml|gexf)", start, re.IGNORECASE):
        return "XML"
    return "GML" if re.match(rb"\s*(Creator\s+\"|graph\s*\[)", start) else None


def flag(uri: str, options: Mapping[str, str], name: str, default: bool = False) -> bool:
    """An option that is true or false."""
    text = options.get(name, str(default)).lower()
    if text not in ("true", "false"):
        raise Ssl4rlError(f"{uri!r}: {name}={options[name]!r}; allowed: true, false")
    return text == "true"


DIRECTED = "directed"


def directed_or(file: Input, told: _T) -> bool | _T:
    """Whether a graph is directed: what the option says, which holds for all of its edges, else `told`."""
    return flag(file.uri, file.options, DIRECTED) if DIRECTED in file.options else told


def choice(uri: str, what: str, got: str, allowed: Sequence[str]) -> str:
    """`got`, which must be one of `allowed`."""
    if got not in allowed:
        raise Ssl4rlError(f"{uri!r} has no {what} {got!r}{nearest(got, allowed)}")
    return got


@contextmanager
def reading(uri: str, path: Path) -> Iterator[None]:
    """Turns what the system, a text's encoding or a compression objects to into one line."""
    try:
        yield
    except UnicodeDecodeError as error:
        raise Ssl4rlError(f"{uri!r}: {path.name} is no UTF-8 text (byte {error.start}: {error.reason})") from None
    except UnicodeError as error:  # UTF-16 without its mark
        raise Ssl4rlError(f"{uri!r}: {path.name} is no text ({error})") from None
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise Ssl4rlError(f"{uri!r}: {path.name} is broken or cut off ({str(error).lower()})") from None
    except OSError as error:
        raise Ssl4rlError(f"{uri!r}: {path.name} cannot be read ({(error.strerror or str(error)).lower()})") from None
