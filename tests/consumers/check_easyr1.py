"""EasyR1, from a checkout that EASYR1 names (it is on no registry): its `RLHFDataset` with a processor and its overlong
filter, and its `AutoRewardManager` in batch form on tokens."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tests.consumers.common import Ran, main
from tests.consumers.tiny import processor_of, without_torchvision


def check(folder: Path, replies: Sequence[tuple[int, str]]) -> Ran:
    sys.path.insert(0, os.environ["EASYR1"])
    processor = processor_of("idefics3")
    without_torchvision()
    import torch
    from verl.utils.dataset import RLHFDataset, collate_fn, process_image
    from verl.workers.reward.config import RewardConfig
    from verl.workers.reward.function import AutoRewardManager

    data = RLHFDataset(
        str(folder / "train"),
        processor.tokenizer,
        processor,
        prompt_key="problem",
        max_prompt_length=8192,
        filter_overlong_prompts_workers=1,
    )
    rows: list[dict[str, Any]] = [data[at] for at in range(len(data))]
    pictures = sum(len([process_image(one, None, None) for one in row["multi_modal_data"]["images"]]) for row in rows)
    assert len(collate_fn(rows)["ground_truth"]) == len(rows)
    config = RewardConfig(reward_function=f"{folder / 'reward.py'}:compute_score")
    config.post_init()
    manager = AutoRewardManager(config, processor.tokenizer)
    ids = [processor.tokenizer.encode(reply, add_special_tokens=False) for _, reply in replies]
    longest = max(map(len, ids))
    responses = torch.tensor([one + [0] * (longest - len(one)) for one in ids])
    mask = torch.tensor([[1] * len(one) + [0] * (longest - len(one)) for one in ids])
    truth = [rows[row]["ground_truth"] for row, _ in replies]
    batch = SimpleBatch({"responses": responses, "response_mask": mask}, {"ground_truth": truth})
    tensor, metrics = manager.compute_reward(batch)
    assert len(metrics["accuracy"]) == len(replies)
    ran = "RLHFDataset with a processor and its overlong filter, collate_fn, AutoRewardManager in batch form"
    return Ran(
        "b44b311 (2026-07-30)", ran, len(rows), pictures, tensor.sum(dim=1).tolist(), "verl.trainer.main (vLLM, GPUs)"
    )


class SimpleBatch(SimpleNamespace):
    """What the manager reads of a DataProto."""

    def __init__(self, batch: dict[str, Any], non_tensor_batch: dict[str, Any]) -> None:
        super().__init__(batch=batch, non_tensor_batch=non_tensor_batch)

    def __len__(self) -> int:
        return len(self.batch["responses"])


if __name__ == "__main__":
    main("verl", check)
