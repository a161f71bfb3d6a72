"""Whether two looks show one picture: laid on each other exactly, whatever proposed the pair.

A copy may have been resized, recompressed, cropped, greyed or turned a little. So one thumbnail is moved over the other
by the affine map that fits best (Gauss and Newton's steps on the correlation, as in Lucas and Kanade 1981, from where
the pair was proposed), and what then agrees is measured by the correlation of the pixels that both show. All in
float64: a verdict is the same on every machine, except where a correlation lies within 1e-12 of its threshold.
"""

from __future__ import annotations

import numpy as np

from ssl4rl.vision.look.thumb import COLOUR_SIDE, SIDE, Array

STILL = 0.95
"""Correlation of two thumbnails as they lie from which on they are twins, recoloured ones too."""
FITTED = 0.97
"""The same once one was moved, if colours agree: six numbers were fitted, which brings distinct pictures nearer too."""

FLAT_STD = 4.0
"""Grey levels; of a thumbnail that varies less (a blank page, fine texture) no correlation is asked."""
FLAT_RMS = 1.5
"""Grey levels; two such thumbnails are twins where they differ less."""

_STEPS = 6
_MOST = 0.3  # of half a side: how far an affine map's numbers may go
_SEEN = 0.6  # of the thumbnail that both must show
_PLAIN_RMS = 5.0  # colour differences below this are none: a grey picture, or what JPEG left of it
_COLOUR_APART = 0.5  # squared difference of colours by their mean squares: 0 the same, 1 unrelated, 2 opposite

_V, _U = (np.mgrid[0:SIDE, 0:SIDE] - (SIDE - 1) / 2) / (SIDE / 2)


def smoothed(grey: Array) -> Array:
    """Thumbnails less what a shift by part of a pixel changes (binomial 1 2 1 both ways), shape (n, SIDE, SIDE)."""
    padded = np.pad(grey, ((0, 0), (1, 1), (1, 1)), mode="edge")
    rows = (padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]) / 4
    result: Array = (rows[:, :, :-2] + 2 * rows[:, :, 1:-1] + rows[:, :, 2:]) / 4
    return result


def same_colours(one: Array, other: Array) -> Array:
    """Whether colour differences, shape (n, 2 * COLOUR_SIDE**2), may be one picture's: alike, or one of them grey."""
    coarse = [c.reshape(len(c), 2, COLOUR_SIDE // 2, 2, COLOUR_SIDE // 2, 2).mean(axis=(3, 5)) for c in (one, other)]
    powers = [(c**2).mean(axis=(1, 2, 3)) for c in coarse]
    apart = ((coarse[0] - coarse[1]) ** 2).mean(axis=(1, 2, 3)) / np.maximum((powers[0] + powers[1]) / 2, 1e-9)
    plain = np.minimum(*powers) < _PLAIN_RMS**2
    result: Array = plain | (apart < _COLOUR_APART)
    return result


def fitted(one: Array, other: Array, start: Array) -> Array:
    """The best correlation of smoothed thumbnails, where `other` is moved by an affine map.

    Args:
        one, other: smoothed thumbnails, shape (n, SIDE, SIDE).
        start: the maps to begin with, shape (n, 6): x, x by u, x by v, then the same for y; all 0 is "as they lie",
            in halves of a side.

    Returns:
        Correlations of shape (n,); -1 where they show too little in common.
    """
    maps = start.copy()
    best = np.full(len(one), -1.0)
    for step in range(_STEPS + 1):
        seen, mask = _moved(other, maps)
        a, b, scale = _unit(one, mask)[0], *_unit(seen, mask)
        agree = (a * b).sum(axis=(1, 2))
        agree[mask.mean(axis=(1, 2)) < _SEEN] = -1.0
        best = np.maximum(best, agree)
        if step < _STEPS:
            maps = np.clip(maps + _step(a, b, seen, mask, scale), -_MOST, _MOST)
    return best


def _moved(thumbs: Array, maps: Array) -> tuple[Array, Array]:
    """Thumbnails seen through maps (bilinear), and which of the pixels lie inside (1.0 or 0.0)."""
    m = maps[:, :, None, None]
    x = (_U + m[:, 0] + m[:, 1] * _U + m[:, 2] * _V) * (SIDE / 2) + (SIDE - 1) / 2
    y = (_V + m[:, 3] + m[:, 4] * _U + m[:, 5] * _V) * (SIDE / 2) + (SIDE - 1) / 2
    mask = ((x >= -0.5) & (x <= SIDE - 0.5) & (y >= -0.5) & (y <= SIDE - 0.5)).astype(np.float64)
    x, y = (np.clip(v, 0, SIDE - 1.000001) for v in (x, y))
    left, top = x.astype(np.int64), y.astype(np.int64)
    right_by, down_by = x - left, y - top
    flat, at = thumbs.reshape(-1), top * SIDE + left + (np.arange(len(thumbs)) * SIDE * SIDE)[:, None, None]
    upper = flat[at] * (1 - right_by) + flat[at + 1] * right_by
    lower = flat[at + SIDE] * (1 - right_by) + flat[at + SIDE + 1] * right_by
    return upper * (1 - down_by) + lower * down_by, mask


def _unit(thumbs: Array, mask: Array) -> tuple[Array, Array]:
    """Thumbnails without their mean, of length 1, over the masked pixels; and the lengths they had, shape (n, 1, 1)."""
    count = np.maximum(mask.sum(axis=(1, 2), keepdims=True), 1.0)
    centred = (thumbs - (thumbs * mask).sum(axis=(1, 2), keepdims=True) / count) * mask
    length = np.maximum(np.sqrt((centred**2).sum(axis=(1, 2), keepdims=True)), 1e-3)
    return centred / length, length


def _step(a: Array, b: Array, seen: Array, mask: Array, scale: Array) -> Array:
    """One Gauss-Newton step of the maps towards a higher correlation of `a` and `b` (both of length 1)."""
    by_y, by_x = np.gradient(seen, axis=(1, 2))
    by_x, by_y = (g * mask / scale * (SIDE / 2) for g in (by_x, by_y))
    slopes = np.stack([by_x, by_x * _U, by_x * _V, by_y, by_y * _U, by_y * _V], axis=1).reshape(len(a), 6, -1)
    inside = mask.reshape(len(a), 1, -1)
    slopes -= slopes.sum(axis=2, keepdims=True) / np.maximum(inside.sum(axis=2, keepdims=True), 1.0) * inside
    along = b.reshape(len(b), 1, -1)
    slopes -= (slopes * along).sum(axis=2, keepdims=True) * along  # brightness and contrast are free
    hessian = slopes @ slopes.transpose(0, 2, 1)
    damping = np.trace(hessian, axis1=1, axis2=2)[:, None, None] / 6 * 1e-3 + 1e-9
    rest = (slopes @ (a - b).reshape(len(a), -1, 1))[..., 0]
    step: Array = np.linalg.solve(hessian + damping * np.eye(6), rest[..., None])[..., 0]
    return np.clip(step, -0.12, 0.12)
