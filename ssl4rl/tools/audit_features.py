"""What a picture shows about how it was made rather than about what is on it.

A probe that can tell the answer from these numbers has found a leak: the pipeline, not the content, gives the answer
away. All of them are direction-blind, on purpose: that the upper side is bright, or that many lines are upright, is
content (the sky is above, trees stand), and to see from it which way is up is the very understanding that a task asks
for. So sides and directions are pooled. Where even a pooled number of a square would change with the angle of its
content (a horizon is longer across the diagonal, a slanted line crosses more rows), the number is taken inside the
inscribed circle, which holds the same content at every angle, or relative to its neighbourhood.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from ssl4rl.core.types import Example

Array = np.ndarray[Any, np.dtype[Any]]

BANDS = 6
RING_PX = 3

PICTURE_FEATURES = (
    "width",
    "height",
    "width/height",
    "border black",
    "border white",
    "border even less inside",
    "border mean less inside",
    "corner black",
    "disc rim min",
    "disc rim mean",
    "disc rim std",
    "laplacian",
    *(f"band {i}" for i in range(BANDS)),
    "blocks of 8",
    "blocks of 4",
)


def picture_features(picture: Array) -> Array:
    """The numbers that `PICTURE_FEATURES` names, float64.

    Args:
        picture: uint8 of shape (height, width, 3), at least 8 pixels a side.
    """
    height, width = picture.shape[:2]
    grey = picture.astype(np.float64).mean(axis=2)
    ring, inside = _ring(grey, 0), _ring(grey, RING_PX)
    edges = (slice(RING_PX), slice(-RING_PX, None))
    corners = np.concatenate([grey[y, x].ravel() for y in edges for x in edges])
    radius, disc = _disc(height, width)
    rim = grey[(radius > 0.85) & (radius < 1)]
    return np.array(
        [
            width,
            height,
            width / height,
            (ring < 1).mean(),
            (ring > 254).mean(),
            _even(grey, 0) - _even(grey, RING_PX),
            ring.mean() - inside.mean(),
            (corners < 1).mean(),
            rim.min(),
            rim.mean(),
            rim.std(),
            *_spectrum(grey, disc),
            _blocks(grey, 8),
            _blocks(grey, 4),
        ]
    )


def example_features(example: Example) -> Array:
    """The features of every picture of an example; where there are several, also the last one's less the first one's.

    Of the sizes also whether they differ at all, which a linear probe cannot see where both signs occur.
    """
    each = [picture_features(np.asarray(medium.data)) for medium in example.media if medium.kind == "image"]
    if len(each) > 1:
        apart = each[-1] - each[0]
        each += [apart, np.abs(apart[:3])]
    return np.concatenate(each)


def _log(energy: float) -> float:
    return float(np.log(energy + 1e-2))


def _ring(grey: Array, depth: int) -> Array:
    """All pixels of the ring `RING_PX` wide that lies `depth` pixels inside the border."""
    inner = grey[depth : grey.shape[0] - depth, depth : grey.shape[1] - depth]
    r = RING_PX
    return np.concatenate([inner[:r].ravel(), inner[-r:].ravel(), inner[r:-r, :r].ravel(), inner[r:-r, -r:].ravel()])


def _even(grey: Array, depth: int) -> float:
    """Share of steps of no height along the four lines `depth` pixels inside the border."""
    lines = (grey[depth], grey[-1 - depth], grey[:, depth], grey[:, -1 - depth])
    return float((np.concatenate([np.diff(line) for line in lines]) == 0).mean())


@lru_cache(maxsize=64)
def _disc(height: int, width: int) -> tuple[Array, Array]:
    """Distance from the centre (1 at the inscribed circle), and a window that falls smoothly to 0 there."""
    y = (np.arange(height) - (height - 1) / 2) / (min(height, width) / 2)
    x = (np.arange(width) - (width - 1) / 2) / (min(height, width) / 2)
    radius = np.hypot(y[:, None], x[None])
    return radius, np.where(radius < 1, 0.5 + 0.5 * np.cos(np.pi * np.minimum(radius, 1)), 0.0)


@lru_cache(maxsize=64)
def _band_weights(height: int, width: int) -> Array:
    """Shape (BANDS + 1, height * width): what each frequency counts in each band, and in the Laplacian's energy.

    Bands overlap like tents and end at 1/2 cycle per pixel, the circle within the square of all frequencies. With hard
    edges, or the corners, the grid of pixels would see the direction of a line of the content.
    """
    radius = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None]).ravel()
    place = (radius - 1 / 32) / (1 / 2 - 1 / 32) * (BANDS + 1)
    tents = np.clip(1 - np.abs(place - np.arange(1, BANDS + 1)[:, None]), 0, None)
    tents /= np.maximum(tents.sum(axis=1, keepdims=True), 1)
    laplacian = (2 * np.pi * radius) ** 4 * np.clip(BANDS + 1 - place, 0, 1)
    return np.vstack([tents, laplacian / len(radius)])


def _spectrum(grey: Array, disc: Array) -> list[float]:
    """Log energies of the disc's Laplacian and of its spectrum in rings around 0."""
    centred = grey - (grey * disc).sum() / disc.sum()
    # The whole plane: half of it would count the energy along one axis twice.
    power = np.abs(np.fft.fft2(centred * disc)) ** 2 / grey.size
    *bands, laplacian = _band_weights(*grey.shape) @ power.ravel()
    return [_log(laplacian), *(_log(band) for band in bands)]


def _blocks(grey: Array, period_px: int) -> float:
    """How much steps recur every `period_px` along rows and columns (the blocks of a JPEG file).

    The mean log energy at the period's frequencies less that at the frequencies around them: a line of the content
    adds to both alike.
    """
    contrasts = []
    for lines in (np.abs(np.diff(grey, axis=0)).mean(axis=1), np.abs(np.diff(grey, axis=1)).mean(axis=0)):
        n = len(lines) // period_px * period_px
        if n < 4 * period_px:
            continue
        energy = np.log(np.abs(np.fft.rfft(lines[:n] - lines[:n].mean())) ** 2 / n + 1e-2)
        for at in range(n // period_px, len(energy), n // period_px):
            around = [energy[at + step] for step in (-2, -1, 1, 2) if at + step < len(energy)]
            contrasts.append(float(energy[at] - np.mean(around)))
    return float(np.mean(contrasts)) if contrasts else 0.0
