"""A processor without a download, and stand-ins for what a consumer imports and does not use on pictures."""

from __future__ import annotations

import importlib.util
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any


def processor_of(kind: str) -> Any:
    """The processor of `tests.tiny_models`, without its video half."""
    from tests.tiny_models import build, image_only_processor

    return image_only_processor(build(kind, Path(tempfile.mkdtemp())))


def without_torchvision() -> None:
    """Lets `import torchvision` pass where it is not installed: qwen_vl_utils imports it for videos alone, and the
    registry's build is for CUDA and dies beside a CPU torch."""
    if importlib.util.find_spec("torchvision") is not None:
        return
    names = ("torchvision", "torchvision.io", "torchvision.transforms", "torchvision.transforms.functional")
    modules = {name: ModuleType(name) for name in names}
    for name, module in modules.items():
        module.__spec__ = importlib.util.spec_from_loader(name, loader=None)
        module.__dict__["__version__"] = "0.0"
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(modules[parent], child, module)
    modules["torchvision.transforms"].__dict__["InterpolationMode"] = type("InterpolationMode", (), {"BICUBIC": 3})
    sys.modules.update(modules)
