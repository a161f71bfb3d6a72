"""Pictures made worse on purpose, by kornia: how well does a model see through noise, blur, JPEG, light and contrast?

The five severities are ImageNet-C's (Hendrycks and Dietterich 2019, arXiv 1903.12261, and their `make_imagenet_c.py`),
which are for pictures of 224 px: what has a width in pixels grows with the picture's shorter side.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np
from PIL import Image as Pillow
from PIL.Image import Image

from ssl4rl.core.benchmark import Corrupt
from ssl4rl.core.types import Media, Ssl4rlError, nearest

SEVERITIES = {
    "noise": (0.08, 0.12, 0.18, 0.26, 0.38),  # standard deviation, of 1
    "blur": (1.0, 2.0, 3.0, 4.0, 6.0),  # standard deviation, px of 224
    "jpeg": (25.0, 18.0, 15.0, 10.0, 7.0),  # quality
    "brightness": (0.1, 0.2, 0.3, 0.4, 0.5),  # added, of 1
    "contrast": (0.4, 0.3, 0.2, 0.1, 0.05),  # of what it was, about the mean
    "pixelate": (0.6, 0.5, 0.4, 0.3, 0.25),  # of the sides
}
_AT_PX = 224
_SIGMAS = 4.0  # of a Gaussian are in its kernel, to either side


def corruption(text: str) -> Corrupt:
    """What "noise:3" names; the severity is 1 to 5.

    Raises:
        Ssl4rlError: no such kind or severity, or kornia is not installed.
    """
    kind, colon, severity = text.partition(":")
    if kind not in SEVERITIES:
        raise Ssl4rlError(f"corrupt: unknown kind {kind!r}{nearest(kind, SEVERITIES)}")
    if not colon or severity not in ("1", "2", "3", "4", "5"):
        raise Ssl4rlError(f"corrupt: {text!r} needs a severity from 1 to 5; for example {kind}:3")
    if find_spec("kornia") is None:
        raise Ssl4rlError("corrupt: kornia is not installed; pip install 'ssl4rl[bench]'")
    return partial(_corrupted, _KINDS[kind], SEVERITIES[kind][int(severity) - 1])


def _corrupted(work: Callable[..., Any], strength: float, media: Media, rng: np.random.Generator) -> Media:
    """A picture of the same size; other media as they are."""
    if media.kind != "image":
        return media
    import torch

    picture: Image = media.data.convert("RGB")
    array = np.array(picture, dtype=np.float32).transpose(2, 0, 1)[None] / 255
    scale = min(picture.size) / _AT_PX
    with torch.no_grad():
        after = work(torch.from_numpy(array), strength, scale, rng).clamp(0, 1)
    rgb = (after[0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    return Media("image", Pillow.fromarray(rgb))


def _noise(picture: Any, std: float, scale: float, rng: np.random.Generator) -> Any:
    import torch
    from kornia.augmentation import RandomGaussianNoise

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng.integers(2**63 - 1)))
        return RandomGaussianNoise(std=std, p=1.0)(picture)


def _blur(picture: Any, sigma: float, scale: float, rng: np.random.Generator) -> Any:
    from kornia.filters import gaussian_blur2d

    sigma = sigma * scale
    size = _odd(2 * _SIGMAS * sigma, picture)
    return gaussian_blur2d(picture, (size, size), (sigma, sigma))


def _odd(width: float, picture: Any) -> int:
    """An odd kernel's width of about so many px, which a reflected border still has room for."""
    side = min(picture.shape[-2:])
    return min(2 * round(width / 2) + 1, 2 * ((side - 1) // 2) - 1) if side > 4 else 3


def _jpeg(picture: Any, quality: float, scale: float, rng: np.random.Generator) -> Any:
    import torch
    from kornia.enhance import jpeg_codec_differentiable

    return jpeg_codec_differentiable(picture, torch.tensor([quality]))


def _brightness(picture: Any, added: float, scale: float, rng: np.random.Generator) -> Any:
    from kornia.enhance import adjust_brightness

    return adjust_brightness(picture, added)


def _contrast(picture: Any, kept: float, scale: float, rng: np.random.Generator) -> Any:
    from kornia.enhance import adjust_contrast_with_mean_subtraction

    return adjust_contrast_with_mean_subtraction(picture, kept)


def _pixelate(picture: Any, share: float, scale: float, rng: np.random.Generator) -> Any:
    from kornia.geometry import resize

    height, width = picture.shape[-2:]
    small = (max(1, round(height * share)), max(1, round(width * share)))
    return resize(resize(picture, small, interpolation="area"), (height, width), interpolation="nearest")


_KINDS: dict[str, Callable[..., Any]] = {
    "noise": _noise,
    "blur": _blur,
    "jpeg": _jpeg,
    "brightness": _brightness,
    "contrast": _contrast,
    "pixelate": _pixelate,
}
