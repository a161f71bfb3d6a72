"""What the host and the device tell each other while decoding, without the device standing still for it."""

from __future__ import annotations

import torch
from torch import Tensor

NEWS = 8  # tokens between two looks at whether any completion goes on


def sent(x: Tensor, device: torch.device) -> Tensor:
    """A tensor of the host on the device; on CUDA from pinned memory, so that nobody waits for the copy."""
    if device.type == "cpu":
        return x
    return x.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else x.to(device)


class News:
    """Whether any completion goes on. On a CPU it is asked after every token.

    On a GPU every ``NEWS`` tokens, and the answer is read ``NEWS`` tokens later: the host never waits for the token
    that the device is at, and a batch takes up to two times ``NEWS`` steps more than it needs.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._asked: tuple[Tensor, torch.cuda.Event] | None = None

    def all_ended(self, t: int, alive_R: Tensor) -> bool:
        """As far as is known after token t; to be asked after every token."""
        if self._device.type == "cpu":
            return not bool(alive_R.any())
        if t % NEWS:
            return False
        if self._device.type != "cuda":
            return not bool(alive_R.any())
        ended = False
        if self._asked is not None:
            flag, event = self._asked
            event.synchronize()
            ended = not bool(flag)
        flag, event = torch.empty((), dtype=torch.bool).pin_memory(), torch.cuda.Event()  # type: ignore[no-untyped-call]
        flag.copy_(alive_R.any(), non_blocking=True)
        event.record()
        self._asked = flag, event
        return ended
