"""A source's pictures in groups of near-twins, made once and kept."""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from ssl4rl.core.limits import exceeded, limit
from ssl4rl.core.near.groups import group_ids, moved
from ssl4rl.core.types import Unusable
from ssl4rl.vision.cache.index import Index, progress
from ssl4rl.vision.look.search import twins
from ssl4rl.vision.look.thumb import LOOK_BYTES
from ssl4rl.vision.photo import EncodedPhoto

_BATCH = 4096


@dataclass(frozen=True)
class Grouped:
    """`groups`: content id -> group; `moved`: id -> (group before, group now), of those that were called otherwise."""

    groups: Mapping[str, str]
    moved: Mapping[str, tuple[str, str]]


def grouped(uri: str, photos: Mapping[str, EncodedPhoto], thumbs: Mapping[str, bytes], index: Index) -> Grouped:
    """Groups of near-twins among pictures.

    Args:
        uri: the source, for messages.
        photos: content id -> picture.
        thumbs: looks that are known already, by content id.
        index: where looks and groups of earlier openings are kept. Only what is new is looked at, and compared with
            all; where pictures are gone that held others together, all are compared again.

    Raises:
        Ssl4rlError: more pictures than can be compared with each other.
    """
    before = index.groups()
    if before.keys() == photos.keys():
        return Grouped(before, {})
    if len(photos) > limit("looks"):
        raise exceeded(uri, "looks", "comparing how its pictures look (split_by=content or folder does not)")
    with index.turn():
        before = index.groups()
        if before.keys() == photos.keys():  # another process was quicker
            return Grouped(before, {})
        now = _grouped(photos, thumbs, before, index)
        index.keep_groups(now)
    return Grouped(now, moved(before, now))


def _grouped(
    photos: Mapping[str, EncodedPhoto], thumbs: Mapping[str, bytes], before: Mapping[str, str], index: Index
) -> dict[str, str]:
    kept = index.looks()
    looks = {identity: look for identity, look in (kept | dict(thumbs)).items() if identity in photos}
    looks |= _looked_at({identity: photo for identity, photo in photos.items() if identity not in looks})
    if looks != kept:
        index.keep_looks(looks)
    ids = sorted(photos)
    shown = [identity for identity in ids if looks[identity]]
    stacked = np.frombuffer(b"".join(looks[identity] for identity in shown), dtype=np.uint8).reshape(-1, LOOK_BYTES)
    grown = before.keys() <= photos.keys()
    new = np.array([not grown or identity not in before for identity in shown], dtype=bool)
    with progress("comparing pictures", len(shown)) as told:
        pairs = twins(stacked, new, told)
    place = {identity: at for at, identity in enumerate(ids)}
    at_shown = np.array([place[identity] for identity in shown], dtype=np.int64)
    links = [tuple(pair) for pair in at_shown[pairs].tolist()] if len(pairs) else []
    if grown:
        links += [(place[identity], place[group]) for identity, group in before.items()]
    return dict(zip(ids, group_ids(ids, links), strict=True))


def _looked_at(photos: Mapping[str, EncodedPhoto]) -> dict[str, bytes]:
    """The looks of pictures, decoded for it; an empty one of those that cannot be."""
    found: dict[str, bytes] = {}
    names = list(photos)
    with progress("looking at pictures", len(photos)) as told, ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for start in range(0, len(names), _BATCH):
            batch = names[start : start + _BATCH]
            for name, look in zip(batch, pool.map(_thumb, [photos[name] for name in batch]), strict=True):
                found[name] = look
                told(1)
    return found


def _thumb(photo: EncodedPhoto) -> bytes:
    try:
        return photo.thumb()
    except Unusable:
        return b""
