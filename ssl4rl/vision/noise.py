"""Pictures of noise, alone or with a depth map of other noise: clips and pictures with depth without their content."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from ssl4rl.vision.photo import Depth, Photo

Array = np.ndarray[Any, np.dtype[Any]]

BLOCKS, BLOCK_PX = 8, 24


class Noise(Photo):
    """All of it comes out of one number."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.seed = int(rng.integers(1 << 62))

    def decode(self, min_side_px: int) -> Image.Image:
        rng = np.random.Generator(np.random.PCG64([self.seed, 0]))
        grey = _smooth(rng, min_side_px)
        planes = [2 * grey + _smooth(rng, min_side_px) for _ in range(3)]
        return Image.fromarray(np.clip(np.stack(planes, axis=2) * 20 + 128, 0, 255).astype(np.uint8))


class NoiseWithDepth(Noise):
    """The content-free twin of pictures with depth."""

    def depth(self) -> Depth:
        """Blocks of even depth, from 1 to 8: of noise hardly a place would be even."""
        rng = np.random.Generator(np.random.PCG64([self.seed, 1]))
        blocks = np.exp(rng.uniform(0, np.log(8), (BLOCKS, BLOCKS))).astype(np.float32)
        return blocks.repeat(BLOCK_PX, axis=0).repeat(BLOCK_PX, axis=1)


def _smooth(rng: np.random.Generator, side_px: int) -> Array:
    """Noise whose amplitude falls with frequency like photographs' (1/f), of mean 0 and spread 1."""
    radius = np.hypot(np.fft.fftfreq(side_px)[:, None], np.fft.rfftfreq(side_px)[None])
    radius[0, 0] = np.inf
    wave = rng.normal(size=radius.shape) + 1j * rng.normal(size=radius.shape)
    plane = np.fft.irfft2(wave / radius, s=(side_px, side_px))
    spread: Array = (plane - plane.mean()) / plane.std()
    return spread
