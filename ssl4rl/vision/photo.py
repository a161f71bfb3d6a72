"""The item of every picture source: a handle that is decoded when, and as small as, a task needs it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image


class Photo(ABC):
    """A picture not yet decoded."""

    @abstractmethod
    def decode(self, min_side_px: int) -> Image:
        """The picture: RGB, upright (EXIF orientation applied), transparent parts on white.

        Args:
            min_side_px: the shorter side the task needs; the picture comes at this size or larger (never enlarged:
                a smaller picture comes as it is). JPEGs are decoded at a reduced scale where that is enough.

        Raises:
            Unusable: the file is broken, too large or no picture.
        """
