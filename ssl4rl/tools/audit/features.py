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


def picture_families(picture: Array) -> dict[str, dict[str, float]]:
    """Numbers about one picture by family, of which some say where things are and so hold content.

    Args:
        picture: uint8 of shape (height, width, 3), at least 8 pixels a side.
    """
    height, width = picture.shape[:2]
    told = dict(zip(PICTURE_FEATURES, picture_features(picture).tolist(), strict=True))
    grey = picture.astype(np.float64).mean(axis=2)
    border = ("border black", "border white", "border even less inside", "border mean less inside", "corner black")
    r = RING_PX
    sides = {"top": grey[:r], "bottom": grey[-r:], "left": grey[:, :r], "right": grey[:, -r:]}
    corners = {f"{y}{x} corner": grey[_END[y], _END[x]] for y in _END for x in _END}
    return {
        "size": {"width": width, "height": height, "width/height": width / height},
        "border": {name: told[name] for name in (*border, "disc rim min")},
        "sides": {name: float(part.mean() - grey.mean()) for name, part in (sides | corners).items()},
        "colour": _colours(picture, grey),
        "spectrum": {name: told[name] for name in ("laplacian", *(f"band {i}" for i in range(BANDS)))} | _slopes(grey),
        "jpeg": {name: told[name] for name in ("blocks of 8", "blocks of 4")} | _quantisation(grey),
    }


_END = {"-": slice(RING_PX), "+": slice(-RING_PX, None)}


def _colours(picture: Array, grey: Array) -> dict[str, float]:
    means, spreads = picture.mean(axis=(0, 1)), picture.std(axis=(0, 1))
    shares = np.histogram(grey, bins=8, range=(0, 256))[0] / grey.size
    found = {f"mean {name}": means[i] for i, name in enumerate(("red", "green", "blue"))}
    found |= {f"spread {name}": spreads[i] for i, name in enumerate(("red", "green", "blue"))}
    return {name: float(value) for name, value in (found | {f"grey {i}/8": shares[i] for i in range(8)}).items()}


def _slopes(grey: Array) -> dict[str, float]:
    """Log energies of the steps from pixel to pixel in four directions."""
    steps = {
        "across": np.diff(grey, axis=1),
        "down": np.diff(grey, axis=0),
        "falling": (grey[1:, 1:] - grey[:-1, :-1]) / np.sqrt(2),
        "rising": (grey[1:, :-1] - grey[:-1, 1:]) / np.sqrt(2),
    }
    return {f"slope {name}": _log(float(np.mean(step**2))) for name, step in steps.items()}


def _quantisation(grey: Array) -> dict[str, float]:
    """What compression leaves in the blocks of 8 x 8 counted from the upper left corner: fine waves at zero, steps."""
    from scipy.fft import dctn

    high, wide = (side // 8 * 8 for side in grey.shape)
    blocks = grey[:high, :wide].reshape(high // 8, 8, wide // 8, 8).swapaxes(1, 2)
    waves = np.abs(dctn(blocks, axes=(2, 3), norm="ortho"))
    fine = waves[..., np.add.outer(np.arange(8), np.arange(8)) >= 8]
    found = {"fine waves": float(np.log(fine.mean() + 1e-2)), "fine waves at zero": float((fine < 0.7).mean())}
    if min(high, wide) >= 16:
        steps = (np.abs(np.diff(grey, axis=0)).mean(axis=1), np.abs(np.diff(grey, axis=1)).mean(axis=0))
        at = np.concatenate([step[7::8] for step in steps]).mean()
        between = np.concatenate([np.delete(step, slice(7, None, 8)) for step in steps]).mean()
        found["steps between blocks"] = float(np.log(at + 0.1) - np.log(between + 0.1))
    else:
        found["steps between blocks"] = 0.0
    return found
