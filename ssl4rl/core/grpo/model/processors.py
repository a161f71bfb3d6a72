"""Loading what turns chat messages into tensors: a processor, or a tokenizer alone for a text model.

Some processors of transformers need torchvision for their video half only, and no build of it exists for every torch.
Then the family's own processor is loaded without that half.
"""

from __future__ import annotations

import importlib.util
import inspect
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ssl4rl.core.types import Example, Ssl4rlError, nearest

_PROCESSOR_FILES = (
    "processor_config.json",
    "preprocessor_config.json",
    "video_preprocessor_config.json",
    "chat_template.json",
    "chat_template.jinja",
)


CLIP_FRAMES_PER_S = 2.0
"""The rate at which processors are told that a clip's frames were taken, as Qwen takes them."""
_ARGUMENT = {"image": "images", "audio": "audio", "video": "videos"}
_NOT_OURS = ("return_tensors", "device", "data_format", "input_data_format", "disable_grouping", "image_seq_length")
_READ_BEFORE = ("do_convert_rgb", "default_to_square")  # by what every image processor does before its own part


def check_options(processor: Any, options: Mapping[str, Any]) -> None:
    """Whether a processor does anything with each of `options` (model.processor) when it is called on pictures.

    transformers passes over names that it does not know, and takes some that a family's processor never reads.

    Raises:
        Ssl4rlError: the first option that would do nothing, with the nearest of those that do.
    """
    images, clips = (getattr(processor, f"{kind}_processor", None) for kind in ("image", "video"))
    if images is None and options:
        raise Ssl4rlError(f"model.processor.{next(iter(options))}: the model reads text only, no pictures")
    known = _read_options(images) if options else set()
    known |= _read_options(clips) if known and clips is not None else set()
    for name in options:
        if known and name not in known:
            raise Ssl4rlError(
                f"unknown key 'model.processor.{name}' for {type(images).__name__}{nearest(name, sorted(known))}"
            )


def _read_options(images: Any) -> set[str]:
    """The names that an image or video processor reads; none for one that is not written in transformers' way."""
    from transformers.processing_utils import ImagesKwargs, VideosKwargs

    kinds = getattr(images, "valid_kwargs", None)
    work = getattr(images, "_preprocess", None)
    if kinds is None or work is None:
        return set()
    valid, common = set(kinds.__annotations__), {*ImagesKwargs.__annotations__, *VideosKwargs.__annotations__}
    read = (valid - common) | (valid & set(inspect.signature(work).parameters)) | (valid & set(_READ_BEFORE))
    return read - set(_NOT_OURS)


def media_arguments(processor: Any, example: Example, text: str) -> dict[str, Any]:
    """What a processor is called with to read an example's media: lists by kind, and clips frame for frame.

    Args:
        text: the prompt as the chat template writes it.

    Raises:
        Ssl4rlError: the example shows a clip and the processor takes none, or the template leaves it out.
    """
    media: dict[str, Any] = {}
    for medium in example.media:
        media.setdefault(_ARGUMENT.get(medium.kind, medium.kind), [[]])[0].append(medium.data)
    if "videos" not in media:
        return media
    if getattr(processor, "video_processor", None) is None:
        takes = "video_processor" in inspect.signature(type(processor).__init__).parameters
        why = "needs torchvision for clips, which is not installed" if takes else "takes no clips"
        raise Ssl4rlError(f"{example.key} shows a clip, and the model's processor {why}; show its frames as pictures")
    mark = getattr(processor, "video_token", None)
    if isinstance(mark, str) and mark not in text:
        raise Ssl4rlError(f"{example.key} shows a clip, which the model's chat template leaves out")
    clips = [list(frames) for frames in media["videos"][0]]
    told = {"do_sample_frames": False, "video_metadata": [clip_metadata(len(frames)) for frames in clips]}
    return {**media, "videos": [clips], **told}


def clip_metadata(frames: int) -> dict[str, Any]:
    """What transformers and vLLM want to know of a clip of so many frames, all of which are shown."""
    return {"total_num_frames": frames, "fps": CLIP_FRAMES_PER_S, "frames_indices": list(range(frames))}


def load_processor(path: str, *, vision: bool, revision: str | None = None, trust: bool = False) -> Any:
    """The processor of a vision-language model, the tokenizer of a text model.

    Args:
        path: a hub id or a local folder.
        vision: whether the model takes pictures.
        revision: of a hub id; None is its newest.

    Raises:
        Ssl4rlError: the files are missing, or a package that they need is (it says which).
    """
    from transformers import AutoProcessor, AutoTokenizer

    what = "processor" if vision else "tokenizer"
    try:
        if not vision:
            return AutoTokenizer.from_pretrained(path, revision=revision or "main", trust_remote_code=trust)
        found = AutoProcessor.from_pretrained(path, revision=revision or "main", trust_remote_code=trust)
    except (ImportError, ValueError, AttributeError) as error:
        if not vision or importlib.util.find_spec("torchvision") is not None:
            raise Ssl4rlError(f"{path}: its {what} does not load: {one_line(error)}") from error
        return _image_only(path, error)
    except OSError as error:
        raise Ssl4rlError(f"{path}: its {what} does not load: {one_line(error)}") from error
    if not hasattr(found, "image_processor"):
        raise Ssl4rlError(f"{path}: the model takes pictures, but its folder brings a tokenizer and no image processor")
    return found


def one_line(error: BaseException) -> str:
    """The first line of an error's text that says something."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _image_only(path: str, why: BaseException) -> Any:
    """The family's own processor without its video half.

    `ProcessorMixin` takes the parts it wants from `get_attributes()`; a subclass that names two of them never looks for
    the third. SmolVLM's class needs num2words for its video prompts alone; Idefics3's treats pictures the same way.
    """
    import transformers
    from transformers import AutoImageProcessor, AutoTokenizer
    from transformers.utils import cached_file

    try:
        entries: dict[str, Any] = {}
        for name in ("chat_template.json", "preprocessor_config.json", "processor_config.json"):
            found = cached_file(path, name, _raise_exceptions_for_missing_entries=False)
            if found:
                entries |= json.loads(Path(found).read_text())
        class_name = entries.get("processor_class") or entries.get("image_processor", {}).get("processor_class")
        if class_name == "SmolVLMProcessor":
            class_name = "Idefics3Processor"
        base = getattr(transformers, class_name)
        known = base.__init__.__code__.co_varnames
        tokenizer = AutoTokenizer.from_pretrained(path)
        images = AutoImageProcessor.from_pretrained(path)
        parts = classmethod(lambda cls: ["image_processor", "tokenizer"])
        # a class made on the spot cannot be pickled: workers load it anew
        again = {"get_attributes": parts, "__reduce__": lambda self: (_load_vision, (path,))}
        subclass = type(class_name, (base,), again)
        extra = {k: v for k, v in entries.items() if k in known and k not in ("self", "image_processor", "tokenizer")}
        extra["chat_template"] = tokenizer.chat_template or entries.get("chat_template")
        return subclass(image_processor=images, tokenizer=tokenizer, **extra)
    except Exception as error:  # whatever fails on this way round, the first way says what the user lacks
        if "torchvision" not in str(why).lower():
            raise Ssl4rlError(f"{path}: its processor does not load: {one_line(why)}") from why
        raise Ssl4rlError(
            f"{path}: its processor needs torchvision, which is not installed here ({one_line(why)}); loading it "
            f"without its video half fails too: {one_line(error)}"
        ) from why


def _load_vision(path: str) -> Any:
    return load_processor(path, vision=True)


def has_processor(path: str, vision: bool) -> bool:
    """Whether a local folder brings a processor of its own: a tokenizer, and for a model that sees the rest too."""

    def brings(*names: str) -> bool:
        return any(os.path.isfile(os.path.join(path, name)) for name in names)

    text = brings("tokenizer.json", "tokenizer_config.json")
    return text and (not vision or brings("preprocessor_config.json", "processor_config.json"))


def original_files(origin: str | None) -> dict[str, bytes]:
    """The processor's files as they were published, by name, for `save_processor`; none of an embedded model."""
    from transformers.utils import cached_file

    found = {}
    for name in _PROCESSOR_FILES if origin else ():
        if os.path.isdir(str(origin)):
            path = Path(str(origin)) / name
        else:
            cached = cached_file(
                origin,
                name,
                local_files_only=True,
                _raise_exceptions_for_missing_entries=False,
                _raise_exceptions_for_connection_errors=False,
            )
            path = Path(cached or "")
        if path.is_file():
            found[name] = path.read_bytes()
    return found


def save_processor(processor: Any, originals: Mapping[str, bytes], options: Mapping[str, Any], folder: Path) -> None:
    """Writes the processor to `folder` so that it loads there as it did from where it came.

    The original's own files win over what `save_pretrained` writes, for a processor loaded without its video half
    would otherwise lose it for good. `options` that pictures were processed with become the saved defaults.
    """
    processor.save_pretrained(folder)
    for name, content in originals.items():
        (folder / name).write_bytes(content)
    if not options:
        return
    for name in ("preprocessor_config.json", "processor_config.json"):
        file = folder / name
        entries = json.loads(file.read_text()) if file.is_file() else {}
        images = entries if name == "preprocessor_config.json" else entries.get("image_processor")
        if images:
            images.update(options)
            file.write_text(json.dumps(entries, indent=2) + "\n")
