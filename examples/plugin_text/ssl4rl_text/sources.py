"""Texts: folders of .txt, .md and .jsonl files, one such file, and the descriptions of Debian packages that ship."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ssl4rl import Source, Ssl4rlError, Unusable
from ssl4rl.core.limits import MIB, exceeded, limit, open_regular
from ssl4rl.core.source import Problem, content_id, too_many_problems
from ssl4rl.core.uri import missing, split_options
from ssl4rl_text.document import Document

EXTENSIONS = (".txt", ".text", ".md", ".markdown", ".jsonl", ".ndjson")
_LINES = (".jsonl", ".ndjson")
_MARKDOWN = (".md", ".markdown")
COLUMNS = ("text", "content", "body", "document")
"""Fields of a JSON line that hold its text, in the order in which they are looked for."""


@dataclass(frozen=True)
class _Place:
    """Where a text lies: a file below the root, or a line of it, which is `size` bytes from `start`."""

    file: str
    start: int = 0
    size: int = -1
    line: int = 0

    @property
    def name(self) -> str:
        return f"{self.file}, line {self.line}" if self.line else self.file


class Texts(Source[Document]):
    """Texts of files, each read again when it is asked for; equal texts are one."""

    def __init__(self, uri: str, root: Path, column: str, language: str, found: _Found) -> None:
        self.uri, self._root, self._column, self._language = uri, root, column, language
        self._places, self._ids, self._problems, self._taken = found.places, found.ids, found.problems, found.taken()

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> Document:
        place = self._places[index]
        try:
            path = _inside(self._root, place.file)
            with open_regular(self.uri, path) as file:
                file.seek(place.start)
                text = _text(file.read(place.size), path.suffix.lower(), self._column)
        except (OSError, ValueError, Ssl4rlError) as error:
            raise Unusable(f"{place.file} cannot be read any more: {error}") from error
        if content_id(text.encode()) != self._ids[index]:
            raise Unusable(f"{place.file} has changed since it was opened")
        return Document(text, self._language)

    def id(self, index: int) -> str:
        return self._ids[index]

    def name(self, index: int) -> str:
        return self._places[index].name

    @property
    def problems(self) -> Sequence[Problem]:
        return self._problems

    @property
    def taken(self) -> str:
        return self._taken


class Kept(Source[Document]):
    """Texts in memory."""

    def __init__(self, uri: str, texts: Sequence[str]) -> None:
        self.uri, self._texts = uri, texts

    def __len__(self) -> int:
        return len(self._texts)

    def __getitem__(self, index: int) -> Document:
        return Document(self._texts[index])

    def id(self, index: int) -> str:
        return content_id(self._texts[index].encode())


def open_path(text: str) -> Texts:
    """`texts:FOLDER` or `texts:FILE`, with `?column=` (of JSON lines) and `?language=` (of sentences, "en").

    A .txt or .md file is one text, of a .jsonl file each line. Of Markdown the prose of paragraphs is taken: no
    headings, lists, tables or code. Hidden files are skipped, links that lead outside are problems.

    Raises:
        Ssl4rlError: there is no such folder or file, or no text in it.
    """
    path, options = split_options("texts", text, ("column", "language"))
    uri = f"texts:{text}"
    if not path:
        raise Ssl4rlError(f"{uri}: no folder or file of texts is named; for example data=texts:notes/")
    root = Path(path).expanduser()
    column, language = options.get("column", ""), options.get("language", "en")
    if root.is_dir():
        root = root.resolve()
        names = sorted(_walk(root))
    elif root.exists():
        names, root = [root.name], root.resolve().parent
        if Path(names[0]).suffix.lower() not in EXTENSIONS:
            raise Ssl4rlError(f"{uri}: {names[0]} is no text; allowed: {', '.join(EXTENSIONS)}")
    else:
        raise missing(uri, root, "folder or file ")
    found = _Found()
    for name in names:
        found.add_file(uri, root, name, column)
        if found.hopeless:
            raise too_many_problems(uri, found.problems[0])
    if not found.places:
        why = f"; {found.problems[0].name}: {found.problems[0].why}" if found.problems else ""
        raise Ssl4rlError(f"{uri}: no text was found; allowed: {', '.join(EXTENSIONS)}{why}")
    return Texts(uri, root, column, language, found)


def open_descriptions(rest: str = "") -> Kept:
    """`descriptions:`, the long descriptions of 769 Debian packages, prose alone (LICENSES.md beside them).

    Raises:
        Ssl4rlError: something follows the colon.
    """
    if rest:
        raise Ssl4rlError(f"'descriptions:{rest}': nothing may follow the colon; for a folder: texts:{rest}")
    with gzip.open(Path(__file__).with_name("descriptions.jsonl.gz"), "rt", encoding="utf-8") as file:
        return Kept("descriptions:", [json.loads(line)["text"] for line in file])


class _Found:
    """What was found so far: texts, each content once, and problems."""

    def __init__(self) -> None:
        self.places: list[_Place] = []
        self.ids: list[str] = []
        self.problems: list[Problem] = []
        self._known: set[str] = set()
        self._files = self._doubles = 0

    @property
    def hopeless(self) -> bool:
        return len(self.problems) > limit("problems")

    def taken(self) -> str:
        said = f"{len(self.places)} texts of {self._files} files"
        return said + (f"; {self._doubles} left out that were there already" if self._doubles else "")

    def add_file(self, uri: str, root: Path, name: str, column: str) -> None:
        """Adds what a file holds. What cannot be read becomes a problem."""
        try:
            path = _inside(root, name)
            extension = path.suffix.lower()
            with open_regular(uri, path) as file:
                if extension not in _LINES:
                    self._add(_Place(name), _text(_bounded(uri, file.read(_most() + 1)), extension, column))
                else:
                    start = 0
                    for number, line in enumerate(iter(lambda: file.readline(_most() + 1), b""), start=1):
                        if self.hopeless:
                            return
                        if number > limit("lines"):
                            raise exceeded(uri, "lines")
                        self._add_line(uri, _Place(name, start, len(line), number), line, column)
                        start += len(line)
            self._files += 1
        except (OSError, ValueError, Ssl4rlError) as error:
            self.problems.append(Problem(name, str(error)))

    def _add_line(self, uri: str, place: _Place, line: bytes, column: str) -> None:
        try:
            if line.strip():
                self._add(place, _text(_bounded(uri, line), ".jsonl", column))
        except ValueError as error:
            self.problems.append(Problem(place.name, str(error)))

    def _add(self, place: _Place, text: str) -> None:
        if not text.strip():
            raise ValueError("holds no text")
        known = content_id(text.encode())
        if known in self._known:
            self._doubles += 1
            return
        self._known.add(known)
        self.places.append(place)
        self.ids.append(known)


def _most() -> int:
    """Bytes that one text may have."""
    return limit("line_mib") * MIB


def _bounded(uri: str, data: bytes) -> bytes:
    if len(data) > _most():
        raise exceeded(uri, "line_mib")
    return data


def _walk(root: Path) -> Iterator[str]:
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if not name.startswith(".") and Path(name).suffix.lower() in EXTENSIONS:
                yield str(Path(folder, name).relative_to(root))


def _inside(root: Path, name: str) -> Path:
    """The file, whose links lead nowhere outside `root`.

    Raises:
        ValueError: they do.
    """
    path = (root / name).resolve()
    if not path.is_relative_to(root):
        raise ValueError("a symbolic link that leads outside the folder")
    return path


def _text(data: bytes, extension: str, column: str) -> str:
    """The text in a file's bytes, or in a line's.

    Raises:
        ValueError: it is not UTF-8, or a line that holds no text where it should.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 (byte {error.start})") from None
    if extension in _MARKDOWN:
        return _prose(text)
    return _field(text, column) if extension in _LINES else text


def _field(line: str, column: str) -> str:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"no JSON: {error}") from None
    if isinstance(row, str):
        return row
    if not isinstance(row, dict):
        raise ValueError(f"a {type(row).__name__}; allowed: an object with a text, or a text")
    name = column or next((name for name in COLUMNS if name in row), "")
    if not isinstance(row.get(name), str):
        asked = f"no text in {column!r}" if column else f"none of {', '.join(COLUMNS)} holds a text; name one, ?column="
        raise ValueError(f"{asked}; it has {', '.join(map(repr, list(row)[:8])) or 'nothing'}")
    return str(row[name])


def _prose(markdown: str) -> str:
    """The paragraphs of a Markdown text that stand by themselves, without marks, pictures or code."""
    from markdown_it import MarkdownIt

    paragraphs: list[str] = []
    depth = 0
    tokens = MarkdownIt("commonmark").parse(markdown)
    for before, token in zip([None, *tokens], tokens, strict=False):
        depth += token.nesting if token.type.startswith(("bullet_list", "ordered_list", "blockquote")) else 0
        if token.type == "inline" and before is not None and before.type == "paragraph_open" and not depth:
            children = token.children or []
            words = [" " if child.type in ("softbreak", "hardbreak") else child.content for child in children
                     if child.type not in ("image", "html_inline")]  # fmt: skip
            paragraphs.append("".join(words))
    return "\n\n".join(paragraphs)
