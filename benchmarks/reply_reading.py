"""How long a verifier takes to read a reply: ordinary ones, the longest answers that are read, and megabytes.

    python benchmarks/reply_reading.py [--rounds 5] [--characters 1000000] [--json FILE]

Ordinary replies are the right and the spoiled ones of tests/hostile/replies.py (every verifier, every wrapper); the
longest answers are 4,000 characters between the tags, and the megabytes 1,000,000 characters, each of kinds that are
hard on regular expressions, on Unicode tables or on the search for tags, each read by every verifier. One thread, its
own CPU time; a reply's time is the least of the rounds, for what disturbs the machine only adds. Printed and written:
the median, the 99th percentile and the longest, by verifier, and the slowest kinds.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.hostile.replies import Reply, right_replies, spoiled_replies
from tests.hostile.reply_cases import CASES, Case

RESULTS = Path(__file__).parent / "results" / "reply_reading.json"
LONGEST = 4000
MEGABYTE = 1_000_000
PIECES = (
    "x", " ", "\n", "1", "1 ", "1, ", "1  ", "-", "- ", "- a\n", "1. ", ".", "(", ")", "()", "(,", "[", "[[", "{", "{}",
    "\"", "'", "*", "**", "`", "```",
    "_", "__", "$", "$$", "\\", "\\\\", r"\text{", r"\text{a}", r"\boxed{", "^", "&", "&lt;", "&lt", "&#49;", "<", ">",
    "<|", "<b>", "Ann", "Ann ", "Ann-",
    "Ann, ", "Ann and ", "Ann\n", "a->", "- - ", "answer", "Answer: ", "the answer is ", "option ", "top ", "x=",
    "x0=1 ", "½", "²", "ﷺ", "é", "\u0301",
    "\u200b", "\u00a0", "🙂", "\ud800", "0.", "9:", "#", "# ", "|", "~~", "%", "°", "or ", "not ",
)  # fmt: skip
"""Repeated, these fill an answer."""
TAGS = (
    "<answer>", "</answer>", "<answer>1</answer>", "<answer>1<answer>", "<think>", "</think>", "<think></think>",
    "<think>a</think>", "<answer ", "< answer",
    "<answer a", "&lt;answer&gt;", "&lt;answer", "<|im_end|>", "<|im_end|>x", "</s>", "<pad>", "<pad>x", "</think",
    "think>", "> ", ">" , "<|", "<" , "/think>",
    "<answer>A</answer><think>", "<answer >B</answer > ", ">kniht/", "K",
)  # fmt: skip
"""Repeated, these fill a completion."""


def longest(size: int) -> Mapping[str, str]:
    """Completions of about `size` characters by what they are made of."""
    found = {}
    for piece in PIECES:
        body = (piece * (size // len(piece) + 1))[:size]
        found[f"answer of {piece!r}"] = f"<think></think><answer>{body}</answer>"
        found[f"answer of {piece!r}, then x"] = f"<answer>{body[:-1]}x</answer>"
    return found


def megabytes(size: int) -> Mapping[str, str]:
    found = dict(longest(size))
    for piece in (*TAGS, *PIECES):
        body = (piece * (size // len(piece) + 1))[:size]
        found[f"reply of {piece!r}"] = body
        found[f"{piece!r} before the answer"] = f"{body}<answer>1</answer>"
        found[f"{piece!r} behind the answer"] = f"<answer>1</answer>{body}"
        found[f"{piece!r} in the thought"] = f"<think>{body}</think><answer>1</answer>"
    found["1 and blanks"] = "<answer>1" + " " * size + "</answer>"
    found["blanks and >"] = "<answer>1</answer>" + (">" + " " * 999) * (size // 1000)
    return found


def timed_ms(case: Case, text: str, rounds: int) -> float:
    """The least of the rounds."""
    best = float("inf")
    for _ in range(rounds):
        started = time.thread_time()
        case.verifier.score(text, case.example)
        best = min(best, time.thread_time() - started)
    return 1e3 * best


def summary(milliseconds: list[float]) -> dict[str, float]:
    ordered = sorted(milliseconds)
    at = {"median_ms": 0.5, "p99_ms": 0.99, "longest_ms": 1.0}
    return {name: round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 4) for name, share in at.items()}


def measure(rounds: int, characters: int) -> dict[str, Any]:
    ordinary: dict[str, list[float]] = {}
    replies: list[Reply] = [*right_replies(), *spoiled_replies()]
    for reply in replies:
        ordinary.setdefault(reply.case, []).append(timed_ms(CASES[reply.case], reply.text, rounds))
    result: dict[str, Any] = {
        "ordinary": {"n": len(replies), **summary([ms for row in ordinary.values() for ms in row])},
        "ordinary_by_case": {name: summary(row) for name, row in ordinary.items()},
    }
    first = {type(case.verifier).__name__: case for case in reversed(CASES.values())}
    for name, texts in (("longest_answer", longest(LONGEST)), ("megabyte", megabytes(characters))):
        slow = [(timed_ms(case, text, 1), v, kind) for v, case in first.items() for kind, text in texts.items()]
        slow.sort(reverse=True)
        # what was slow once is measured again, for an interrupt may have been
        again = sorted(((timed_ms(first[v], texts[k], rounds), v, k) for _, v, k in slow[:60]), reverse=True)
        result[name] = {
            "n": len(slow),
            "median_ms": round(slow[len(slow) // 2][0], 3),
            "longest_ms": round(again[0][0], 3),
            "slowest": [{"ms": round(ms, 3), "verifier": verifier, "kind": kind} for ms, verifier, kind in again[:8]],
        }
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--characters", type=int, default=MEGABYTE, help="how long the megabytes are")
    parser.add_argument("--json", type=Path, default=RESULTS)
    asked = parser.parse_args()
    result = {
        "python": platform.python_version(),
        "machine": platform.machine(),
        **measure(asked.rounds, asked.characters),
    }
    asked.json.write_text(json.dumps(result, indent=1, ensure_ascii=True) + "\n")
    for name in ("ordinary", "longest_answer", "megabyte"):
        print(name, {key: value for key, value in result[name].items() if key != "slowest"})
        for row in result[name].get("slowest", ()):
            print("  ", row)


if __name__ == "__main__":
    main()
