"""What data a run was on, in a few words that a checkpoint keeps: whether a resumed run still sees the same.

An example is a function of its task, its key and the contents it draws from, and the draws go through the contents in
the order of their ids. So the ids, the part they fall in and the tasks decide everything; files' names, dates and order
decide nothing. (A task that is changed without a new version is not seen; nor is all of an endless source.)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ssl4rl.core.dataset import TaskDataset

Seen = dict[str, Any]
"""{"tasks": {"train": [names], ...}, "sources": {"train": {uri: [items, hash]}, ...}}: plain values."""

_USE = {"train": "to train on", "held_out": "held out"}


def data_seen(train: TaskDataset, held_out: TaskDataset) -> Seen:
    """The tasks and contents of both parts."""
    parts = {"train": train, "held_out": held_out}
    return {
        "tasks": {part: [component.name for component in dataset.components] for part, dataset in parts.items()},
        "sources": {
            part: {c.split.source.uri: list(c.split.fingerprint) for c in dataset.components}
            for part, dataset in parts.items()
        },
    }


def differences(then: Mapping[str, Any], now: Seen) -> list[str]:
    """What has changed, a few words for each part of each source and for the tasks."""
    found = []
    for part, use in _USE.items():
        old, new = then["tasks"][part], now["tasks"][part]
        if old != new:
            gone = next((name for name in old if name not in new), "another order")
            come = next((name for name in new if name not in old), "another order")
            found.append(f"{gone} was {use}, now {come}")
        for uri, (items, ids) in now["sources"][part].items():
            if uri not in then["sources"][part]:
                found.append(f"{uri!r} is new, {items} items {use}")
                continue
            items_then, ids_then = then["sources"][part][uri]
            if items_then != items:
                found.append(f"{uri!r} had {items_then} items {use}, now {items}")
            elif ids_then != ids:
                found.append(f"{uri!r} has {items} items {use} as before, but other ones")
    return found
