"""Replies as models write them: right ones that must be read, and ones that must never be paid.

    python -m tests.hostile.replies [--unread] [--json FILE]

prints the counts: exceptions, the share of right replies that are read, and what was paid wrongly. Both lists are made
here, by crossing a case of every verifier (`reply_cases`, with the expected reading written out) with what stands round
an answer between the tags, with what stands round the tags, and with what turns a right answer into none
(`reply_wrappers`).

Right replies that are left unread on purpose, `UNREAD` with the reason for each, count as unread.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ssl4rl import EdgeSet, NodeSet, Text
from tests.hostile.reply_cases import CASES, UNREAD
from tests.hostile.reply_wrappers import CUT, INSIDE, ROUND, SPOILED, SPOILED_REPLIES
from tests.hostile.results import keep

_THE_OTHER = frozenset({"spoiled: other in a thought behind"})
"""Kinds that plainly give the other answer, which may earn what that earns."""
_ONE_A_LINE = "spoiled: fence with the other"
"""Of sets, that is a larger set, which may earn something."""
_LONE_NUMBERS = ("integer", "triangles", "angle", "fine angle")
_SETS = (NodeSet, EdgeSet)


@dataclass(frozen=True)
class Reply:
    """A completion and what is asked of it: `read` (None: it must not be paid). `why` it is unread, if that is so."""

    case: str
    kind: str
    text: str
    read: Any = None
    why: str = ""
    truncated: bool = False


def right_replies() -> Iterator[Reply]:
    """Each case in all that stands inside or round the tags, and in all its own spellings, plain and in bold."""
    for name, case in CASES.items():
        for kind, pattern in INSIDE.items():
            yield Reply(
                name, f"inside: {kind}", ROUND["answer"].replace("%", pattern.replace("%", case.text)), case.read
            )
        if name not in _LONE_NUMBERS:
            yield Reply(name, "inside: dash", f"<answer>- {case.text}</answer>", case.read)
        for kind, pattern in ROUND.items():
            yield Reply(name, f"round: {kind}", pattern.replace("%", case.text), case.read)
        for text in case.also:
            yield Reply(name, f"spelled {text!r}", f"<think></think><answer>{text}</answer>", case.read)
            yield Reply(name, f"spelled {text!r}, marked", f"<ANSWER> {text}\n</ANSWER><|im_end|>", case.read)
    for (name, text), why in UNREAD.items():
        yield Reply(name, f"spelled {text!r}", f"<answer>{text}</answer>", CASES[name].read, why)


def filled(pattern: str, right: str, other: str) -> str:
    return pattern.replace("@", "\0").replace("%", right).replace("\0", other)


def spoiled_replies() -> Iterator[Reply]:
    """Each case denied, doubted, doubled, outside the tag or cut off; and all its answers in a row."""
    for name, case in CASES.items():
        for other in case.wrong[:2]:
            for kind, pattern in SPOILED.items():
                yield Reply(name, f"spoiled: {kind}", f"<answer>{filled(pattern, case.text, other)}</answer>")
            for kind, pattern in (*SPOILED_REPLIES.items(), *CUT.items()):
                yield Reply(name, f"spoiled: {kind}", filled(pattern, case.text, other), truncated=kind in CUT)
        if not isinstance(case.verifier, _SETS):
            for between in (", ", " ", "; ", "\n", " and ", "/", "-", " – ", "|"):
                for row in ((case.text, *case.wrong), (*case.wrong, case.text)):
                    yield Reply(name, f"all in a row by {between!r}", f"<answer>{between.join(row)}</answer>")


Found = list[tuple[Reply, str]]


@dataclass
class Count:
    """What a run over replies found: how many there were, and the replies that went wrong, with what became of them."""

    right: int = 0
    spoiled: int = 0
    exceptions: Found = field(default_factory=list)
    unread: Found = field(default_factory=list)
    paid: Found = field(default_factory=list)

    @property
    def read_share(self) -> float:
        return 1 - len(self.unread) / max(1, self.right)


def run(replies: Iterator[Reply]) -> Count:
    count = Count()
    for reply in replies:
        case = CASES[reply.case]
        try:
            score = case.verifier.score(reply.text, case.example, truncated=reply.truncated)
        except Exception as error:  # what is looked for
            count.exceptions.append((reply, f"{type(error).__name__}: {error}"))
            continue
        if reply.read is None:
            count.spoiled += 1
            larger_set = isinstance(case.verifier, _SETS) and reply.kind.startswith(_ONE_A_LINE)
            earns_a_part = larger_set or reply.kind in _THE_OTHER
            if score.verdict == "correct" or (score.value > 0 and not earns_a_part):
                count.paid.append((reply, f"{score.verdict} {score.value:.2f} {score.parsed!r}"))
            continue
        count.right += 1
        right_text = isinstance(case.verifier, Text) and score.verdict == "correct"
        if score.verdict != "correct" or (score.parsed != reply.read and not right_text):
            count.unread.append((reply, f"{score.verdict} {score.parsed!r}"))
    return count


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.hostile.replies", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--unread", action="store_true", help="list what was not read or wrongly paid")
    parser.add_argument("--json", type=Path, help="a file that keeps the figures of all hostile scripts")
    asked = parser.parse_args(argv)
    right, spoiled = run(right_replies()), run(spoiled_replies())
    unread, paid = right.unread, spoiled.paid
    exceptions = [*right.exceptions, *spoiled.exceptions]
    counts = {
        "right": right.right, "read": right.right - len(unread), "read_share": round(right.read_share, 4),
        "unread_with_a_reason": sum(bool(reply.why) for reply, _ in unread), "must_not_be_paid": spoiled.spoiled,
        "paid_wrongly": len(paid), "exceptions": len(exceptions),
    }  # fmt: skip
    print("\n".join(f"{name:22} {number}" for name, number in counts.items()))
    for reply, what in [*exceptions, *paid, *unread] if asked.unread else []:
        print(f"  {reply.case}, {reply.kind}: {reply.text!r} -> {what}{f' ({reply.why})' if reply.why else ''}")
    if asked.unread:
        print(Counter(reply.kind for reply, _ in unread if not reply.why).most_common(12))
    keep(asked.json, "replies", counts)
    return int(bool(exceptions or paid or right.read_share < 0.95))


if __name__ == "__main__":
    sys.exit(main())
