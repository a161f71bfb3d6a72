"""ms-swift: `load_dataset` of the jsonl files, `import_external_file` of the plugin, `orms`, pictures opened by its own
`load_image`, and rewards through its `score_completions`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.consumers.common import Ran, main


def check(folder: Path, replies: Sequence[tuple[int, str]]) -> Ran:
    from swift.dataset import load_dataset
    from swift.rewards import orms
    from swift.template.vision_utils import load_image
    from swift.utils import import_external_file

    files = sorted(str(file) for file in (folder / "train").glob("*.jsonl"))
    data, _ = load_dataset(files, remove_unused_columns=False, load_from_cache_file=False)
    pictures = 0
    for row in data:
        shown = [load_image(one if isinstance(one, str) else one["path"] or one["bytes"]) for one in row["images"]]
        tags = sum(message["content"].count("<image>") for message in row["messages"])
        assert tags == len(shown) > 0
        pictures += len(shown)
    import_external_file(str(folder / "reward.py"))
    reward = orms["ssl4rl"](args=None)
    solutions = [data[row]["solution"] for row, _ in replies]
    rewards = reward([reply for _, reply in replies], solution=solutions, trainer_state=None)
    return Ran(
        "", "load_dataset, load_image, import_external_file, orms", len(data), pictures, rewards, "swift rlhf (GPUs)"
    )


if __name__ == "__main__":
    main("ms-swift", check)
