"""Names of nodes in a reply: one name, a list of them, a pair. A name is first read as it stands, whatever is in it.

Names that an answer may use are `meta["nodes"]`. Case does not matter, nor how a character is written (`normalise`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache

from ssl4rl.core.types import Example
from ssl4rl.core.verify.plain import normalise, unlisted

Spelling = Mapping[str, str]
"""From a name folded to the node's own spelling."""

SEPARATOR = re.compile(r"\s?[,;\n]\s?")
AND = re.compile(r"\s(?:and|&)\s|\s?&\s?")
STEP = re.compile(r"\s?(?:,|;|\n|-{0,3}>|={1,2}>)\s?")
STEP_OR_AND = re.compile(r"\s?-{1,3}\s?|\s(?:then|to|and)\s")
_ARROW = re.compile(r"\s?(?:<->|<=>|<--?|--?>|=>|--?)\s?|\s(?:and|to|&)\s")
_ROUND_A_NAME = " \"'`*_()[]{}.$"
_WORD_BEFORE = re.compile(r"(?:and |then )?(?:the )?(?:node|vertex)s? (?=\S)|(?:and|then|from) (?=\S)", re.IGNORECASE)
_EDGE_BEFORE = re.compile(
    r"(?:and )?(?:the )?(?:(?:missing |hidden )?edge )?(?:(?:between|from) )?(?=\S)", re.IGNORECASE
)
_PAIR = re.compile(r"[(\[{]\s?([^()\[\]{},]*),([^()\[\]{},]*)[)\]}]")
_BETWEEN_PAIRS = re.compile(r"(?:[\s,;()\[\]{}&]|\band\b|^- |\n- )*", re.IGNORECASE)
_MOST_ARROWS = 32


def spelling(example: Example) -> Spelling:
    return _spelling(tuple(map(str, example.meta["nodes"])))


@lru_cache(maxsize=256)
def _spelling(nodes: tuple[str, ...]) -> Spelling:
    return {_folded(node): node for node in nodes}


def _folded(name: str) -> str:
    return normalise(name).casefold() or name.casefold()


def one(text: str, names: Spelling) -> str | None:
    """The node that `text` is the name of: as it stands, without Markdown, quotes and brackets, without "node"."""
    folded = text.strip().casefold()
    for bare in (folded, folded.strip(_ROUND_A_NAME)):
        if bare in names:
            return names[bare]
    word = _WORD_BEFORE.match(folded)
    rest = folded[word.end() :] if word else folded
    return names.get(rest) or names.get(rest.strip(_ROUND_A_NAME)) if word else None


def listed(text: str, names: Spelling, between: re.Pattern[str], finer: re.Pattern[str]) -> list[str] | None:
    """The nodes of a list, split `between`, and what is no name then, `finer`. None where a part is no node's name.

    Args:
        text: normalised; also one item a line with bullets or numbers.
    """
    whole = one(text, names)
    if whole is not None:
        return [whole]
    found: list[str] = []
    for part in between.split(unlisted(text).strip(" ,;")):
        node = one(part, names)
        nodes = [one(piece, names) for piece in finer.split(part)] if node is None else [node]
        known = [node for node in nodes if node is not None]
        if len(known) < len(nodes):
            return None
        found += known
    return found


def pairs(text: str, names: Spelling, directed: bool) -> list[tuple[str, str]] | None:
    """The pairs of nodes of a list of edges; None where a part is none. An arrow to the left turns a pair round."""
    whole = _joined(text, names, directed)
    if whole is not None:
        return [whole]
    text = unlisted(text)
    bracketed = _PAIR.findall(text)
    if bracketed and _BETWEEN_PAIRS.fullmatch(_PAIR.sub(" ", text)):
        ends = [(one(u, names), one(v, names)) for u, v in bracketed]
        known = [(u, v) for u, v in ends if u is not None and v is not None]
        if len(known) == len(ends):
            return known
    found = list(_parts(text, names, directed))
    known = [pair for pair in found if pair is not None]
    return known if found and len(known) == len(found) else None


def _parts(text: str, names: Spelling, directed: bool) -> Iterator[tuple[str, str] | None]:
    for part in SEPARATOR.split(text.strip(" ,;[]{}")):
        pair = _joined(part, names, directed)
        if pair is not None:
            yield pair
            continue
        pieces = AND.split(part)
        for piece in pieces:
            yield _joined(piece, names, directed) if len(pieces) > 1 else None


def _joined(text: str, names: Spelling, directed: bool) -> tuple[str, str] | None:
    """The two nodes of "A-B": an arrow with a name at either side. None where that is so in no way, or in several."""
    text = text.strip(" ()[]{}")
    before = _EDGE_BEFORE.match(text)
    text = text[before.end() :] if before else text
    found: set[tuple[str, str]] = set()
    for count, arrow in enumerate(_ARROW.finditer(text)):
        if count == _MOST_ARROWS:
            return None
        u, v = one(text[: arrow.start()], names), one(text[arrow.end() :], names)
        sign = arrow[0].strip().casefold()
        if u is None or v is None or (directed and sign in ("<->", "<=>", "and", "&")):
            continue
        found.add((v, u) if sign in ("<-", "<--") else (u, v))
    return found.pop() if len(found) == 1 else None
