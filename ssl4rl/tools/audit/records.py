"""From examples to numbers by family: of the whole prompt, and of each candidate against the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ssl4rl.core.dataset import TaskDataset
from ssl4rl.core.types import Example
from ssl4rl.tools.audit import options as among
from ssl4rl.tools.audit import text
from ssl4rl.tools.audit.answers import Pick, Picks, close, picks
from ssl4rl.tools.audit.features import Array, picture_families

Features = Mapping[str, float]
Families = dict[str, Features]

MOST_PICTURES = 4
"""So many of the pictures that are no option's are looked at, each by itself."""
MIN_SIDE_PX = 8


@dataclass
class Record:
    """An example as a classifier sees it: `whole` by family, `each` by candidates and family, in the candidates' order.

    A picture is a family's part of its own ("colour of picture 2"): what two pictures have in common is content, and a
    classifier that saw both at once would find it. Only their sizes, and `likeness`, are of two.
    `sources` are the ids of the items it was made from, the one it is about first.
    """

    sources: tuple[str, ...]
    picks: Picks
    whole: Families = field(default_factory=dict)
    each: dict[tuple[str, ...], dict[str, list[Features]]] = field(default_factory=dict)


def records(dataset: TaskDataset, examples: Sequence[Example]) -> list[Record]:
    """The records of examples of one task and level."""
    verifier = dataset.components[0].verifier
    asked = close([picks(verifier, example) for example in examples])
    found = []
    texts = [example.text("") for example in examples]
    fixed = text.fixed_words(texts)
    for example, which, bag in zip(examples, asked, text.bags(texts), strict=True):
        assert example.key is not None
        record = Record(example.key.sources, which)
        pictures = [
            _read(medium.data) if medium.kind == "image" and min(medium.data.size) >= MIN_SIDE_PX else {}
            for medium in example.media
        ]
        _add_whole(record, example, pictures, fixed, bag)
        for pick in which.values():
            if pick.where != "nowhere" and pick.candidates not in record.each:
                record.each[pick.candidates] = _each(example, pick, pictures, fixed)
        found.append(record)
    return found


def _read(picture: object) -> dict[str, dict[str, float]]:
    array = np.asarray(picture)
    return picture_families(np.repeat(array[:, :, None], 3, axis=2) if array.ndim == 2 else array[:, :, :3])


def _add_whole(
    record: Record,
    example: Example,
    pictures: Sequence[Mapping[str, Features]],
    fixed: frozenset[str],
    bag: Features,
) -> None:
    shown = text.layout(example, ())
    mentions = text.Mentions(shown.text.rpartition("\n")[0])
    asked = mentions.of(text.names_in(shown.text.rpartition("\n")[2], mentions, fixed))
    whole = record.whole
    whole["length"] = text.lengths(shown.text)
    whole["words"] = bag
    whole["mentions"] = text.mention_counts(asked) | text.mention_table(mentions, fixed)
    loose = _loose(example, record.picks, len(pictures))
    for number in loose[:MOST_PICTURES]:
        for family, features in pictures[number].items():
            of = f" of picture {number + 1}" if len(pictures) > 1 else ""
            whole[f"{family}{of}"] = {f"{name}{of}": value for name, value in features.items()}
    if len(pictures) == 2 and all(pictures):
        first, second = pictures
        apart = {name: abs(second["size"][name] - first["size"][name]) for name in first["size"]}
        sizes = {
            f"{name}{which}": value for which, one in ((1, first), (2, second)) for name, value in one["size"].items()
        }
        whole["size"] = sizes | {f"difference in {name}": value for name, value in apart.items()}
        whole["likeness"] = _apart(first, second)


def _loose(example: Example, asked: Picks, pictures: int) -> list[int]:
    """The pictures that are no option's."""
    labelled = [pick.candidates for pick in asked.values() if pick.where == "labels"]
    taken = {i for labels in labelled for option in text.layout(example, labels).options for i in option.media}
    return [i for i in range(pictures) if i not in taken]


def _apart(one: Mapping[str, Features], other: Mapping[str, Features]) -> dict[str, float]:
    """How far two pictures are apart in colour and texture."""
    pairs = [(family, name) for family in ("colour", "spectrum") for name in one[family]]
    return {f"difference in {name}": abs(one[family][name] - other[family][name]) for family, name in pairs}


def _each(
    example: Example, pick: Pick, pictures: Sequence[Mapping[str, Features]], fixed: frozenset[str]
) -> dict[str, list[Features]]:
    """The candidates' features by family; none where the prompt does not show them."""
    if pick.where == "names":
        shown = text.layout(example, ())
        options = [text.Option(name) for name in pick.candidates]
        body, names = shown.text, [[name] for name in pick.candidates]
        mentions = text.Mentions(body)
    else:
        shown = text.layout(example, pick.candidates)
        options = list(shown.options)
        mentions = text.Mentions(shown.body)
        names = [text.names_in(option.text, mentions, fixed) for option in options]
    if not options:
        return {}
    found: dict[str, list[Features]] = {}
    if all(option.text for option in options):
        texts = [option.text for option in options]
        places = [mentions.of(own) for own in names]
        found["option order"] = list(text.option_order(texts))
        if all(any(where) for where in places):  # a name that is never mentioned has no place: that is a count
            found["mention order"] = list(text.mention_order(places))
        found["mentions"] = [text.mention_counts(where) for where in places]
        if pick.where == "labels":
            found["option length"] = [text.lengths(t) for t in texts]
            words = [among.words_of(t) for t in texts]
            found["option overlap"] = list(among.overlap(words))
            found["shared words"] = list(among.shared_words(words, shown.body, fixed))
    own = [[pictures[i] for i in option.media if i < len(pictures)] for option in options]
    if all(len(one) == 1 and one[0] for one in own):
        of = [one[0] for one in own]
        found["option likeness"] = list(among.picture_likeness([example.media[o.media[0]].data for o in options]))
        for family in of[0]:
            found[family] = [families[family] for families in of]
        taken = {i for option in options for i in option.media}
        context = [families for i, families in enumerate(pictures) if i not in taken and families]
        if context:
            found["likeness"] = [_apart(context[0], families) for families in of]
    return found


def matrix(rows: Sequence[Features]) -> tuple[Array, list[str]]:
    """Features as an array [rows, names] and the names; what a row lacks is 0."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    return np.array([[row.get(name, 0.0) for name in names] for row in rows], dtype=np.float64), names


def reshuffled(found: Sequence[Record], rng: np.random.Generator) -> list[Record]:
    """The same prompts with another answer key, of which nothing is left to guess.

    Answers among the same candidates are dealt anew among the examples, those of one example's own candidates among
    these.
    """
    dealt: list[dict[str, Pick]] = [{} for _ in found]
    for name in dict.fromkeys(name for record in found for name in record.picks):
        have = [i for i, record in enumerate(found) if name in record.picks]
        asked = [found[i].picks[name] for i in have]
        same = len({pick.candidates for pick in asked}) == 1
        order = rng.permutation(len(have)) if same else np.arange(len(have))
        for i, j in zip(have, order.tolist(), strict=True):
            pick = asked[j]
            right = pick.right
            if not same:
                right = frozenset(rng.choice(pick.candidates, size=len(right), replace=False).tolist())
            dealt[i][name] = Pick(pick.candidates, right, pick.take, pick.fair, pick.open, pick.where)
    return [
        Record(record.sources, picks, record.whole, record.each) for record, picks in zip(found, dealt, strict=True)
    ]
