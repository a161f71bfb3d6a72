"""Clips that are one file: animations read by Pillow, films read by PyAV."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO, ClassVar

from PIL import Image, ImageSequence

from ssl4rl.core.limits import MIB, limit
from ssl4rl.core.types import Unusable
from ssl4rl.video.clip import Clip
from ssl4rl.vision.decoding import BROKEN, MAX_PIXELS, quiet, why
from ssl4rl.vision.photo import photo_id
from ssl4rl.vision.streams import open_below

_ANIMATED_FORMATS = ("GIF", "WEBP", "PNG")
MOST_FRAMES = 200_000


@dataclass(frozen=True)
class EncodedClip(Clip):
    """A file: `name` relative to the folder `root`."""

    whole: ClassVar[bool] = False
    """Whether its reader holds the whole file in memory."""

    root: str
    name: str
    _known: dict[str, int] = field(default_factory=dict, compare=False, repr=False)

    def look(self) -> tuple[str, int]:
        """Its content id, and how many frames it has.

        Raises:
            Unusable: it is broken, too large, or no clip.
        """
        try:
            with self.open() as file:
                identity = photo_id(file)
        except (OSError, EOFError) as error:
            raise Unusable(f"{self.name}: {why(error)}") from error
        return identity, len(self)

    def open(self) -> BinaryIO:
        file = open_below(self.root, self.name)
        if file.seek(0, 2) > limit("picture_file_mib") * MIB and self.whole:
            file.close()
            raise Unusable(f"{self.name}: over {limit('picture_file_mib')} MiB, which animations are read whole of")
        file.seek(0)
        return file

    def __len__(self) -> int:
        if "frames" not in self._known:
            self._known["frames"] = self.count()
        return self._known["frames"]

    @abstractmethod
    def count(self) -> int:
        """How many frames there are.

        Raises:
            Unusable: it is broken, or no clip.
        """


class AnimatedClip(EncodedClip):
    """GIF, WebP or APNG. Frames are composed from the first on, so a late one costs all before it."""

    whole: ClassVar[bool] = True

    def count(self) -> int:
        try:
            with self.open() as file, quiet, Image.open(file, formats=_ANIMATED_FORMATS) as image:
                self._require_room(image)
                return int(getattr(image, "n_frames", 1))
        except Unusable:
            raise
        except BROKEN as error:
            raise Unusable(f"{self.name}: {why(error)}") from error

    def frames(self, indices: Sequence[int], min_side_px: int) -> list[Image.Image]:
        try:
            with self.open() as file, quiet, Image.open(file, formats=_ANIMATED_FORMATS) as image:
                self._require_room(image)
                wanted, found = {*indices}, {}
                for index, frame in enumerate(ImageSequence.Iterator(image)):
                    if index in wanted:
                        found[index] = _small(_on_white(frame), min_side_px)
                    if index >= max(indices):
                        break
                return [found[index] for index in indices]
        except Unusable:
            raise
        except BROKEN as error:
            raise Unusable(f"{self.name}: {why(error)}") from error

    def _require_room(self, image: Image.Image) -> None:
        """Every frame is decoded up to the one asked for: their pixels are counted before.

        Raises:
            Unusable: too many pixels or frames.
        """
        frames = int(getattr(image, "n_frames", 1))
        work = image.width * image.height * frames
        if image.width * image.height > MAX_PIXELS or work > limit("picture_work") * 1_000_000:
            raise Unusable(
                f"{self.name}: {frames} frames of {image.width}x{image.height} px; allowed: "
                f"{limit('picture_work')} million pixels (SSL4RL_PICTURE_WORK)"
            )


class FilmClip(EncodedClip):
    """A video file, read by PyAV (extra `video`). Frames are found by their time, so that a late one costs little."""

    def count(self) -> int:
        with self._stream() as (_, stream):
            frames = int(stream.frames)
            if not frames and stream.duration and stream.average_rate:
                frames = int(stream.duration * stream.time_base * stream.average_rate)
            if not 0 < frames <= MOST_FRAMES:
                raise Unusable(f"{self.name}: {frames or 'unknown number of'} frames; allowed: 1 to {MOST_FRAMES}")
            return frames

    def frames(self, indices: Sequence[int], min_side_px: int) -> list[Image.Image]:
        total = len(self)
        found: list[Image.Image] = []
        with self._stream() as (container, stream):
            start, ticks = stream.start_time or 0, stream.duration
            if not ticks:
                raise Unusable(f"{self.name}: its length is not known")
            for index in indices:
                at = start + int(ticks * index / total)
                container.seek(at, stream=stream, backward=True)
                frame = next((f for f in container.decode(stream) if f.pts is not None and f.pts >= at), None)
                if frame is None:
                    raise Unusable(f"{self.name}: frame {index} of {total} cannot be read")
                found.append(_small(frame.to_image(), min_side_px))
        return found

    def _stream(self) -> Any:
        return _Opened(self)


class _Opened:
    """A film's container and its video stream; what PyAV raises becomes Unusable."""

    def __init__(self, clip: FilmClip) -> None:
        self._clip = clip

    def __enter__(self) -> tuple[Any, Any]:
        try:
            import av
        except ImportError as error:
            raise Unusable("video files need PyAV, not installed here: pip install 'ssl4rl[video]'") from error
        self._broken = (av.FFmpegError, *BROKEN)
        self._file = self._clip.open()
        self._container: Any = None
        try:
            self._container = av.open(self._file, metadata_errors="ignore")
            if not self._container.streams.video:
                raise Unusable(f"{self._clip.name}: holds no video")
            stream = self._container.streams.video[0]
            stream.thread_type = "AUTO"
            if not 0 < stream.width * stream.height <= MAX_PIXELS:
                raise Unusable(f"{self._clip.name}: {stream.width}x{stream.height} px")
            return self._container, stream
        except BaseException as error:
            self._close()
            if isinstance(error, self._broken) and not isinstance(error, Unusable):
                raise Unusable(f"{self._clip.name}: {why(error)}") from error
            raise

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        self._close()
        if isinstance(error, self._broken) and not isinstance(error, Unusable):
            raise Unusable(f"{self._clip.name}: {why(error)}") from error

    def _close(self) -> None:
        if self._container is not None:
            self._container.close()
        self._file.close()


def _on_white(frame: Image.Image) -> Image.Image:
    """RGB, transparent parts on white."""
    full = frame.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", full.size, "white"), full).convert("RGB")


def _small(frame: Image.Image, min_side_px: int) -> Image.Image:
    """Averaged down by a whole number where more than twice the side is left over."""
    factor = min(frame.size) // max(1, 2 * min_side_px)
    return frame.reduce(factor) if factor > 1 else frame
