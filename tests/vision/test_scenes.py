"""Drawn scenes: what `scenes:tinted` adds to a plain one, and what may follow the colon."""

from __future__ import annotations

import numpy as np
import pytest

from ssl4rl import Ssl4rlError
from ssl4rl.vision.scenes import open_scenes


def test_a_tinted_scene_is_the_plain_one_cooler_to_the_right_and_darker_downwards() -> None:
    plain, tinted = (np.asarray(open_scenes(which)[5].decode(48)).astype(float) for which in ("", "tinted"))
    # factors of red, green and blue in the first and last pixel of the first row, and in the last row
    expected = {(0, 0): (1.365, 1.096, 0.827), (0, 47): (0.827, 1.096, 1.365), (47, 0): (0.879, 0.704, 0.529)}
    for (y, x), factors in expected.items():
        assert tinted[y, x] == pytest.approx(np.minimum(plain[y, x] * factors, 255), abs=1.5)


def test_ids_tell_the_variants_apart() -> None:
    assert [open_scenes(which).id(3) for which in ("", "side_lit", "tinted")] == [
        "scenes:1/3",
        "scenes:side_lit1/3",
        "scenes:tinted1/3",
    ]


def test_what_may_follow_the_colon() -> None:
    said = "^source 'scenes:tintd'; allowed: 'scenes:', 'scenes:side_lit', 'scenes:tinted'$"
    with pytest.raises(Ssl4rlError, match=said):
        open_scenes("tintd")
