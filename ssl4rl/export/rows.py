"""An example as a row that leaves the house: chat messages, pictures, and an `info` from which a reply can be scored.

    {"prompt": messages, "images": [pictures], "info": {"task", "level", "style", "answer", "meta", "key"}}

`info` is plain JSON, as light as a label: a consumer's file carries it (as text where its columns cannot be nested),
and its reward function is `ssl4rl.score(reply, info)`, with the base install alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, TypedDict

from ssl4rl.core import registry
from ssl4rl.core.dataset import TaskDataset
from ssl4rl.core.prompt import messages
from ssl4rl.core.types import Example, Key, Score, Ssl4rlError, shortened
from ssl4rl.core.verify import STYLES, Verifier

_FOR_PEOPLE = ("drawing", "rejected")  # of meta, what no verifier reads


class Row(TypedDict):
    """`prompt`: chat messages whose user content is a list of text parts and `{"type": "image"}` parts, in reading
    order; `images`: PIL images, one for each of those; `info`: what `score` needs."""

    prompt: list[dict[str, Any]]
    images: list[Any]
    info: dict[str, Any]


def rows(dataset: TaskDataset, start: int = 0, stop: int | None = None, system: str | None = None) -> Iterator[Row]:
    """The dataset's examples from index `start` to `stop` (None: its end), made one by one.

    Raises:
        Ssl4rlError: an unbounded dataset without `stop`; a medium that is no picture; a `meta` that JSON cannot hold.
    """
    if stop is None:
        if dataset.size is None:
            raise Ssl4rlError("rows of an unbounded dataset never end; name size= or stop=")
        stop = dataset.size
    for index in range(start, stop):
        yield row(dataset, dataset[index], system)


def row(dataset: TaskDataset, example: Example, system: str | None = None) -> Row:
    """One example of `dataset` as a row. Raises Ssl4rlError as `rows` does."""
    other = sorted({medium.kind for medium in example.media} - {"image"})
    if other:
        raise Ssl4rlError(f"{example.key} shows {', '.join(other)}; a row holds text and images")
    component = dataset.component_of(example)
    info: dict[str, Any] = {
        "task": component.task.id,
        "level": component.level.name,
        "style": dataset.style,
        "answer": example.answer,
        "meta": {name: value for name, value in example.meta.items() if name not in _FOR_PEOPLE},
        "key": example.key.to_json() if example.key else None,
    }
    path, _, short = component.named.rpartition(":")
    if path.endswith(".py"):  # an installed plugin's task is found by its name
        info["plugin"] = f"{Path(path).resolve()}:{short}"
    try:
        plain = json.loads(json.dumps(info))
    except (TypeError, ValueError) as error:
        raise Ssl4rlError(f"{example.key}: answer or meta is no JSON ({error})") from None
    prompt = messages(example, dataset.ask(example), system)
    return Row(prompt=prompt, images=[medium.data for medium in example.media], info=plain)


def score(reply: str, info: Mapping[str, Any] | str, *, truncated: bool = False) -> Score:
    """The verdict on a reply to a row: `TaskDataset.score_answer` without its source.

    Args:
        reply: what the model wrote.
        info: the row's, or its JSON text.
        truncated: the reply hit the token limit.

    Raises:
        Ssl4rlError: `info` is none of ours, or of a task or version that is not installed here.
    """
    record = _record(info)
    example, style = example_of(record), record["style"]
    if style not in STYLES:
        raise Ssl4rlError(f"info has the style {style!r}; allowed: {', '.join(STYLES)}")
    verifier = _verifier(record["task"], record["level"], record.get("plugin"))
    return verifier.score(reply, example, style=style, truncated=truncated)


def example_of(info: Mapping[str, Any] | str) -> Example:
    """The example that a row was made of, without its prompt. Raises Ssl4rlError for an `info` that is none of ours."""
    record = _record(info)
    return Example((), record["answer"], Key.from_json(record["key"]) if record["key"] else None, record["meta"])


def _record(info: Mapping[str, Any] | str) -> Mapping[str, Any]:
    try:
        record = json.loads(info) if isinstance(info, str) else info
    except ValueError:
        record = None
    if not isinstance(record, Mapping):
        raise Ssl4rlError(f"info is {shortened(repr(info))}; it is what ssl4rl.export.rows put beside the prompt")
    lacking = [name for name in ("task", "level", "style", "answer", "meta", "key") if name not in record]
    if lacking:
        raise Ssl4rlError(f"info lacks {lacking[0]!r}; it is what ssl4rl.export.rows put beside the prompt")
    return record


@lru_cache(maxsize=256)
def _verifier(task_id: str, level: str, plugin: str | None) -> Verifier:
    name, _, version = task_id.rpartition("@")
    task, _ = registry.resolve(plugin or name)
    if str(task.version) != version:
        raise Ssl4rlError(
            f"the row is of {task_id} and here is version {task.version}; install the ssl4rl that wrote the rows, or "
            "write them again"
        )
    return task.verifier_at(task.level(level))
