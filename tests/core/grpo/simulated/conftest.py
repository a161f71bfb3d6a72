from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from ssl4rl.core.grpo.logps import attention
from ssl4rl.core.grpo.logps.flexible import row_mask
from ssl4rl.core.grpo.sampling import static


@pytest.fixture(autouse=True)
def flexible_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """FlexAttention's meaning: its block mask is made on the device, then asked about every token."""

    def reference(q: Tensor, k: Tensor, v: Tensor, plan: Any, scale: float) -> Tensor:
        if not q.dtype == k.dtype == v.dtype:
            raise ValueError(f"Expected one dtype, got {q.dtype}, {k.dtype}, {v.dtype}")
        at = torch.arange(q.shape[2], device=q.device)
        seen = row_mask(plan, q.device).mask_mod(at, at, at[:, None], at)
        k, v = (x.repeat_interleave(q.shape[1] // k.shape[1], 1) for x in (k, v))
        with torch.autocast("cuda", enabled=False):
            score = ((q.float() @ k.float().mT) * scale).masked_fill(~seen, -torch.inf)
            return (score.softmax(-1) @ v.float()).to(q.dtype)[0].transpose(0, 1)

    monkeypatch.setattr(attention, "flexible_attention", reference)


@pytest.fixture(autouse=True)
def recorded_and_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step for a CUDA graph is recorded, which refuses what CUDA would, and then run instead of replayed."""

    def recorded(run: Any, device: Any) -> Any:
        with torch.cuda.graph(torch.cuda.CUDAGraph()):
            run()
        return run

    monkeypatch.setattr(static, "recorded", recorded)
