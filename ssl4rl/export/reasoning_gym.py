"""For Reasoning Gym: rows as a registered dataset, in text alone, whose `score_answer` is `ssl4rl.score`.

Its trainers take the answer out of the reply before they ask for its score, and weigh the reply's form themselves; so
what stands between the tags is as good as the whole reply here, and accuracy alone is paid.
"""

from __future__ import annotations

import os
from dataclasses import make_dataclass
from pathlib import Path
from typing import Any

from ssl4rl.core.types import Ssl4rlError
from ssl4rl.export.consumer import Consumer, Launch, info_text, lines_of, plain_messages, reward_file
from ssl4rl.export.rows import Row, score

NAME = "ssl4rl"


def record(row: Row) -> dict[str, Any]:
    """question (a system message, if any, before it), answer (as the verifier writes it), metadata."""
    if row["images"]:
        raise Ssl4rlError(f"{row['info']['task']} shows pictures, and reasoning-gym asks in text alone")
    question = "\n\n".join(message["content"] for message in plain_messages(row))
    index = row["info"]["key"]["index"]
    answer = row["info"]["answer"]
    metadata = {"source_dataset": NAME, "source_index": index, "info": info_text(row)}
    return {"question": question, "answer": answer if isinstance(answer, str) else str(answer), "metadata": metadata}


def accuracy(answer: str | None, entry: dict[str, Any]) -> float:
    """The accuracy of a reply, or of what stood between its answer tags, in [0, 1]."""
    text = answer or ""
    whole = text if "<answer" in text.lower() else f"<answer>{text}</answer>"
    return score(whole, entry["metadata"]["info"]).value


def register(folder: str | os.PathLike[str], name: str = NAME) -> None:
    """Registers an exported folder: `reasoning_gym.create_dataset(name, split="train", size=None)`.

    Raises:
        ValueError: Reasoning Gym has a dataset of that name.
    """
    from reasoning_gym.dataset import ProceduralDataset
    from reasoning_gym.factory import register_dataset

    first = "train" if (Path(folder) / "train").is_dir() else "held_out"
    fields: list[Any] = [("split", str, first), ("size", int | None, None), ("seed", int, 0)]
    settings = make_dataclass("Ssl4rlConfig", fields)

    class Ssl4rlDataset(ProceduralDataset):  # type: ignore[misc]
        """The rows of a folder; the seed changes nothing, for they are written."""

        def __init__(self, config: Any) -> None:
            self.rows = list(lines_of(Path(folder), config.split))
            super().__init__(config, config.seed, len(self.rows) if config.size is None else config.size)

        def __getitem__(self, idx: int) -> dict[str, Any]:
            if not 0 <= idx < self.size:
                raise IndexError(idx)
            found: dict[str, Any] = self.rows[idx % len(self.rows)]
            return found

        def score_answer(self, answer: str | None, entry: dict[str, Any]) -> float:
            return accuracy(answer, entry)

    register_dataset(name, Ssl4rlDataset, settings)


def _files(launch: Launch) -> dict[str, str]:
    names = ["from pathlib import Path", "", "reasoning_gym.register(Path(__file__).parent)"]
    return {"reward.py": reward_file("reasoning_gym", names, launch)}


def _launch(launch: Launch) -> str:
    split = next(iter(launch.parts))
    return (
        "python3 - <<'END'\n"
        "import reward  # registers the folder\n"
        "import reasoning_gym\n"
        f'data = reasoning_gym.create_dataset("{NAME}", split="{split}")\n'
        'print(data[0]["question"], data.score_answer(data[0]["answer"], data[0]))\n'
        "END"
    )


CONSUMER = Consumer(
    name="reasoning-gym",
    tried="reasoning-gym 0.1.25",
    trains=True,
    suffix="jsonl",
    record=record,
    files=_files,
    launch=_launch,
    pictures="none",
    weighs=False,
)
