"""Loading what turns chat messages into tensors: a processor, or a tokenizer alone for a text model.

Some processors of transformers need torchvision for their video half only, and no build of it exists for every torch.
Then the family's own processor is loaded without that half.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

from ssl4rl.core.types import Ssl4rlError

_PROCESSOR_FILES = (
    "processor_config.json",
    "preprocessor_config.json",
    "video_preprocessor_config.json",
    "chat_template.json",
    "chat_template.jinja",
)


def load_processor(path: str, *, vision: bool) -> Any:
    """The processor of a vision-language model, the tokenizer of a text model.

    Args:
        path: a hub id or a local folder.
        vision: whether the model takes pictures.

    Raises:
        Ssl4rlError: the files are missing, or a package that they need is (it says which).
    """
    from transformers import AutoProcessor, AutoTokenizer

    try:
        if not vision:
            return AutoTokenizer.from_pretrained(path)
        return AutoProcessor.from_pretrained(path)
    except (ImportError, ValueError, AttributeError) as error:
        if not vision or importlib.util.find_spec("torchvision") is not None:
            raise Ssl4rlError(f"{path}: its processor does not load: {_first_line(error)}") from error
        return _image_only(path, error)
    except OSError as error:
        raise Ssl4rlError(f"{path}: its processor does not load: {_first_line(error)}") from error


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _image_only(path: str, why: BaseException) -> Any:
    """The family's own processor without its video half.

    `ProcessorMixin` takes the parts it wants from `get_attributes()`; a subclass that names two of them never looks for
    the third. SmolVLM's class needs num2words for its video prompts alone; Idefics3's treats pictures the same way.
    """
    import transformers
    from transformers import AutoImageProcessor, AutoTokenizer
    from transformers.utils import cached_file

    missing = f"{path}: its processor needs torchvision, which is not installed here"
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
    except Exception as error:  # whatever fails on this way round, torchvision is what the user lacks
        raise Ssl4rlError(
            f"{missing} ({_first_line(why)}); loading it without fails too: {_first_line(error)}"
        ) from why


def _load_vision(path: str) -> Any:
    return load_processor(path, vision=True)


def save_processor(processor: Any, origin: str | None, folder: Path) -> None:
    """Writes the processor to `folder` so that it loads there as it did from `origin` (None: an embedded model).

    The original's own files win over what `save_pretrained` writes, for a processor loaded without its video half
    would otherwise lose it for good.
    """
    from transformers.utils import cached_file

    processor.save_pretrained(folder)
    for name in _PROCESSOR_FILES if origin else ():
        found = cached_file(origin, name, _raise_exceptions_for_missing_entries=False)
        if found:
            shutil.copyfile(found, folder / name)
