"""verl: `RLHFDataset` with a processor, its overlong filter on; the reward loop's loader of custom functions and its
naive manager on tokens; the batch collated by its own `collate_fn`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.consumers.common import Ran, main
from tests.consumers.tiny import processor_of, without_torchvision


def check(folder: Path, replies: Sequence[tuple[int, str]]) -> Ran:
    processor = processor_of("qwen2_vl")  # before the stand-in, which transformers would take for the real one
    without_torchvision()
    import numpy as np
    import torch
    from omegaconf import OmegaConf
    from tensordict import TensorDict
    from verl import DataProto
    from verl.experimental.reward_loop.reward_manager.naive import NaiveRewardManager
    from verl.trainer.ppo.reward import get_custom_reward_fn
    from verl.utils.dataset.rl_dataset import RLHFDataset, collate_fn

    files = sorted(str(file) for file in (folder / "train").glob("*.parquet"))
    settings = {"max_prompt_length": 4096, "filter_overlong_prompts": True, "filter_overlong_prompts_workers": 1}
    config = OmegaConf.create({**settings, "cache_dir": str(folder.parent / "cache"), "truncation": "error"})
    data = RLHFDataset(files, processor.tokenizer, config, processor)
    rows = [data[at] for at in range(len(data))]
    pictures = sum(part["type"] == "image" for r in rows for m in r["raw_prompt"] for part in m["content"])
    batch = collate_fn(rows)
    assert len(batch["reward_model"]) == len(rows)
    settings = {"reward": {"custom_reward_function": {"path": str(folder / "reward.py"), "name": "compute_score"}}}
    manager = NaiveRewardManager(
        OmegaConf.create(settings), processor.tokenizer, get_custom_reward_fn(OmegaConf.create(settings))
    )

    async def paid() -> list[float]:
        found = []
        for row, reply in replies:
            ids = torch.tensor([processor.tokenizer.encode(reply, add_special_tokens=False) or [0]])
            said = processor.tokenizer.decode(ids[0], skip_special_tokens=True)
            assert said == reply or not reply, (said, reply)
            tensors = {"responses": ids, "attention_mask": torch.ones_like(ids)}
            if not reply:
                tensors["attention_mask"] = torch.zeros_like(ids)
            others: dict[str, Any] = {
                name: np.array([rows[row][name]], dtype=object)
                for name in ("data_source", "reward_model", "extra_info")
            }
            one = DataProto(batch=TensorDict(tensors, batch_size=[1]), non_tensor_batch=others)
            found.append(float((await manager.run_single(one))["reward_score"]))
        return found

    rewards = manager.loop.run_until_complete(paid()) if not manager.loop.is_running() else asyncio.run(paid())
    ran = (
        "RLHFDataset with a Qwen2-VL processor and its overlong filter, collate_fn, get_custom_reward_fn, the reward "
        "loop's NaiveRewardManager"
    )
    return Ran("", ran, len(rows), pictures, rewards, "main_ppo (vLLM, GPUs)")


if __name__ == "__main__":
    main("verl", check)
