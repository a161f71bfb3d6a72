"""What every check is given and gives: run inside a consumer's environment, where only ssl4rl and the consumer are.

    python -m tests.consumers.check_NAME FOLDER REPLIES.json

REPLIES holds, in the order of the rows of one split, `[row, reply]` pairs. A check loads FOLDER by the consumer's own
code, has it pay each reply, and prints one JSON line: what ran, rows, rewards.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path


@dataclass
class Ran:
    """`rows`: what came out of the consumer's loader; `pictures`: over all of them; `rewards`: one a reply."""

    release: str
    ran: str
    rows: int
    pictures: int
    rewards: list[float] = field(default_factory=list)
    not_run: str = ""


Check = Callable[[Path, Sequence[tuple[int, str]]], Ran]


def main(package: str, check: Check) -> None:
    """Runs a check and prints what it found."""
    folder, replies = Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))
    found = check(folder, [(row, reply) for row, reply in replies])
    if not found.release:
        found.release = version(package)
    print("FOUND " + json.dumps(asdict(found)), flush=True)
