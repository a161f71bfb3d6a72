"""Fills what pages of docs/ show of the code: files, and the launch lines of other trainers; tests hold them to it.

python scripts/fill_docs.py

- a fence that begins with ```python title="FILE" holds that file;
- between `<!-- launch lines: begin -->` and `<!-- launch lines: end -->` stands what `ssl4rl export` tells of each
  consumer.
"""

from __future__ import annotations

import re
from pathlib import Path

from ssl4rl.export.consumer import MODULES, consumer
from ssl4rl.export.plan import Asked, open_plan

ROOT = Path(__file__).parents[1]
_FILE = re.compile(r'(```python title="([^"]+)"\n).*?(\n```)', re.S)
_LAUNCH = re.compile(r"(<!-- launch lines: begin -->\n).*?(<!-- launch lines: end -->)", re.S)
_NAMES = {
    "trl": "TRL, from files",
    "easyr1": "EasyR1",
    "swift": "ms-swift",
    "reasoning-gym": "Reasoning Gym",
    "inspect": "Inspect",
}


def filled(text: str) -> str:
    """A page with the code as it is now."""
    text = _FILE.sub(
        lambda match: f"{match[1]}{(ROOT / match[2]).read_text(encoding='utf-8').rstrip()}{match[3]}", text
    )
    return _LAUNCH.sub(lambda match: f"{match[1]}{launch_lines()}{match[2]}", text) if _LAUNCH.search(text) else text


def launch_lines() -> str:
    """For each consumer the export and, in its folder, the line that starts it on a real model."""
    found = []
    for name in MODULES:
        to = consumer(name)
        task = "graph/hops" if to.pictures == "none" else "vision/jigsaw"
        data = "sbm:" if to.pictures == "none" else "sample:"
        plan = open_plan(Asked(task, name, n=1000, data=data))
        launch = plan.launch({split: f"{split}/*.{to.suffix}" for split in plan.parts})
        given = f"ssl4rl export {task} --data {'sbm:' if data == 'sbm:' else 'photos/'} --format {name} --out rows/"
        found.append(
            f"### {_NAMES.get(name, name)}\n\n```bash\n{given}\n```\n\n```bash\n{to.launch(launch).strip()}\n```\n\n"
        )
    return "".join(found)


def main() -> None:
    for page in sorted((ROOT / "docs").rglob("*.md")):
        before = page.read_text(encoding="utf-8")
        after = filled(before)
        if after != before:
            page.write_text(after, encoding="utf-8")
            print(page.relative_to(ROOT))


if __name__ == "__main__":
    main()
