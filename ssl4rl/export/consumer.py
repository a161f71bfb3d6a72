"""What a consumer is to us, and the words its rows are put in.

A module of this folder holds one `Consumer`: how a row reads there, what files it needs beside the data, and what its
reward call knows. All else (which rows, shards, the folder, the README) is the same for all: `plan.py`, `write.py`.
"""

from __future__ import annotations

import base64
import importlib
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ssl4rl.core.dataset import TaskDataset
from ssl4rl.core.types import Ssl4rlError, nearest
from ssl4rl.export.rows import Row, rows

MODULES = {
    "trl": "trl",
    "verl": "verl",
    "easyr1": "easyr1",
    "swift": "swift",
    "verifiers": "verifiers",
    "reasoning-gym": "reasoning_gym",
    "lmms-eval": "lmms_eval",
    "inspect": "inspect",
}
"""The consumers by the word that `--format` takes, each with the module of this folder that holds its `CONSUMER`."""


@dataclass(frozen=True)
class Launch:
    """What a consumer's launch line and further files are written from.

    `parts`: rows by split; `files`: the data files' pattern by split, relative to the folder. `weights`, `parts_given`,
    `max_new_tokens`: what `Pay` takes. `recipe`: the whole recipe as plain values, for its numbers. `pictures`: whether
    there are any.
    """

    name: str
    parts: Mapping[str, int]
    files: Mapping[str, str]
    pictures: bool
    model: str
    weights: Mapping[str, float]
    parts_given: Sequence[str]
    max_new_tokens: int
    recipe: Mapping[str, Any]

    @property
    def pay(self) -> str:
        """The arguments of `reward_function`, as Python writes them."""
        given = f", parts={tuple(self.parts_given)!r}" if tuple(self.parts_given) != ("accuracy", "format") else ""
        return f"{dict(self.weights)!r}, max_new_tokens={self.max_new_tokens}{given}"


@dataclass(frozen=True)
class Consumer:
    """A trainer or a harness.

    Args:
        name: the word of `--format`.
        tried: the release that tests/consumers runs our folders through.
        trains: it trains, so that it is given the trained part, and a held-out part beside it; else the held-out part.
        suffix: of its data files.
        record: a row in its words, a plain record; raises Ssl4rlError where it has none for it.
        files: its further files by their name (the reward file is one).
        launch: the shell lines that start it on a real model, in the folder.
        tells: what its reward call knows beside the reply: "tokens", and "group" where it is given several at once.
        pictures: "any" rows, rows that are "alike" (all with or all without), or "none".
        system: whether it has a place for a system message.
        weighs: whether it takes the weighed reward; False: it pays accuracy alone, and weighs form itself.
        features: of its parquet files, for `datasets`: the columns that hold pictures, by which they come out decoded.
    """

    name: str
    tried: str
    trains: bool
    suffix: Literal["parquet", "jsonl"]
    record: Callable[[Row], dict[str, Any]]
    files: Callable[[Launch], Mapping[str, str]]
    launch: Callable[[Launch], str]
    tells: frozenset[str] = frozenset()
    pictures: Literal["any", "alike", "none"] = "any"
    system: bool = True
    weighs: bool = True
    features: Sequence[str] = field(default=())

    def records(
        self, dataset: TaskDataset, start: int = 0, stop: int | None = None, system: str | None = None
    ) -> Iterator[dict[str, Any]]:
        """The dataset's examples in the consumer's words, made one by one. Raises as `ssl4rl.rows` and `record` do."""
        for row in rows(dataset, start, stop, system):
            yield self.record(row)


def consumer(name: str) -> Consumer:
    """The consumer that `--format` names. Raises Ssl4rlError with the nearest."""
    if name not in MODULES:
        raise Ssl4rlError(f"unknown format {name!r}{nearest(name, MODULES)}")
    found = importlib.import_module(f"ssl4rl.export.{MODULES[name]}").CONSUMER
    assert isinstance(found, Consumer)
    return found


def info_text(row: Row) -> str:
    """`info` as JSON text, for columns that cannot be nested: half a surrogate pair stays an escape."""
    return json.dumps(row["info"])


def plain_messages(row: Row, tag: str = "<image>") -> list[dict[str, str]]:
    """Messages whose content is text, each picture's place taken by `tag`.

    Raises:
        Ssl4rlError: a text holds the tag itself, which the consumer would take for one more picture.
    """
    found = []
    for message in row["prompt"]:
        texts = [part["text"] for part in message["content"] if part["type"] == "text"]
        if any(tag in text for text in texts):
            raise Ssl4rlError(
                f"{_named(row)} has {tag!r} in its text, which this consumer takes for a picture; allowed: texts "
                "without it"
            )
        content = "".join(part["text"] if part["type"] == "text" else tag for part in message["content"])
        found.append({"role": message["role"], "content": content})
    return found


def png(picture: Any) -> bytes:
    """A PIL picture's pixels as PNG, which loses none."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def data_url(picture: Any) -> str:
    """A PIL picture as "data:image/png;base64,..."."""
    return f"data:image/png;base64,{base64.b64encode(png(picture)).decode()}"


def in_bytes(row: Row) -> list[dict[str, Any]]:
    """A row's pictures as `datasets` stores them."""
    return [{"bytes": png(picture), "path": None} for picture in row["images"]]


def openai_messages(row: Row) -> list[dict[str, Any]]:
    """Messages as OpenAI's chat API takes them, pictures as data URLs; content without pictures is text."""
    pictures = iter(row["images"])
    found = []
    for message in row["prompt"]:
        parts = [
            part if part["type"] == "text" else {"type": "image_url", "image_url": {"url": data_url(next(pictures))}}
            for part in message["content"]
        ]
        alone = len(parts) == 1 and parts[0]["type"] == "text"
        found.append({"role": message["role"], "content": parts[0]["text"] if alone else parts})
    return found


def lines_of(folder: Path, split: str) -> Iterator[dict[str, Any]]:
    """The records of a split of an exported folder of jsonl files, in order.

    Raises:
        Ssl4rlError: a file is missing: the export was stopped, or one of several shares is not there yet.
    """
    files = sorted((folder / split).glob("*.jsonl"))
    wanted = int(files[0].stem.rpartition("-of-")[2]) if files else 1
    if len(files) != wanted:
        raise Ssl4rlError(f"{str(folder / split)!r} has {len(files)} of {wanted} files; export again to finish it")
    for file in files:
        with file.open(encoding="utf-8") as lines:
            yield from (json.loads(line) for line in lines)


def reward_file(module: str, names: Sequence[str], launch: Launch) -> str:
    """A Python file in which `names` are what `ssl4rl.export.MODULE` makes of the weights."""
    from ssl4rl import __version__

    return (
        f'"""Rewards of the rows in this folder: `ssl4rl.score(reply, info)`, weighed. Written by ssl4rl '
        f'{__version__}."""\n\n'
        f"from ssl4rl.export import {module}\n\n" + "\n".join(names) + "\n"
    ).replace("PAY", launch.pay)


def _named(row: Row) -> str:
    key = row["info"]["key"] or {}
    return f"{row['info']['task']}[{row['info']['level']}] index={key.get('index')}"
