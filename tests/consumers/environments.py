"""The environments that the checks run in: pinned, one a consumer, under a build folder.

A consumer with its own wish of torch, transformers and datasets is laid over this project's environment, without its
dependencies; what it then lacks to read rows and pay rewards is named here. The others stand alone.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import venv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_BASE = ("click", "jinja2", "networkx", "numpy", "pillow", "pydantic", "pyyaml", "scipy", "pyarrow")


@dataclass(frozen=True)
class Environment:
    """`over`: laid over this project's; `packages`: for pip, without their dependencies where it is."""

    packages: Sequence[str]
    over: bool = False


ENVIRONMENTS: Mapping[str, Environment] = {
    "trl": Environment((), over=True),
    "verl": Environment(
        (
            "verl==0.9.1", "tensordict==0.10.*", "pyvers", "orjson", "importlib_metadata", "zipp",
            "ray==2.60.*", "msgpack", "jsonschema", "jsonschema-specifications", "referencing",
            "rpds-py", "protobuf", "codetiming", "hydra-core", "omegaconf",
            "antlr4-python3-runtime==4.9.3", "qwen-vl-utils", "av", "cloudpickle", "tensorboard",
            "tensorboard-data-server", "werkzeug", "markdown", "absl-py", "grpcio",
        ),
        over=True,
    ),
    "swift": Environment(
        (
            "ms-swift==4.6.0", "modelscope", "modelscope_hub", "simplejson", "cryptography", "cffi",
            "pycparser", "addict", "dacite", "json_repair", "attrdict",
        ),
        over=True,
    ),
    "lmms": Environment(
        (
            "lmms-eval==0.7.3", "loguru", "openai", "httpx", "httpcore", "jiter", "distro",
            "sniffio", "python-dotenv", "sacrebleu", "portalocker", "colorama", "tabulate", "lxml",
            "evaluate", "sqlitedict", "pytablewriter", "DataProperty", "mbstrdecoder",
            "pathvalidate", "tabledata", "tcolorpy", "typepy", "chardet", "sentencepiece",
            "pycocoevalcap", "pycocotools", "terminaltables", "hf_transfer", "nltk", "tenacity",
            "jsonlines", "einops", "zss", "pytz",
        ),
        over=True,
    ),
    "reasoning": Environment((*_BASE, "reasoning-gym==0.1.25")),
    "verifiers": Environment((*_BASE, "verifiers==0.4.0")),
    "inspect": Environment((*_BASE, "inspect-ai==0.3.285", "openai")),
    "ray": Environment((*_BASE, "ray==2.60.*", "pandas")),
}  # fmt: skip


def python_of(name: str, build: Path, wheel: Path) -> Path:
    """The interpreter of an environment, which is made if it is not there; ssl4rl is installed in it from `wheel`."""
    wanted = ENVIRONMENTS[name]
    folder = build / "environments" / name
    python = folder / "bin" / "python"
    made = folder / "made"
    if not made.exists():
        venv.create(folder, with_pip=True, clear=True)
        if wanted.over:
            ours = sysconfig.get_paths()["purelib"]
            inner = next(folder.glob("lib/python*/site-packages"))
            (inner / "zz_over.pth").write_text(f"{ours}\n")
        if wanted.packages:
            alone = ["--no-deps"] if wanted.over else []
            _pip(python, *alone, *wanted.packages)
        made.touch()
    _pip(python, "--no-deps", "--force-reinstall", str(wheel))
    return python


def wheel_of(build: Path) -> Path:
    """This tree's wheel."""
    root = Path(__file__).parents[2]
    place = build / "wheel"
    _pip(Path(sys.executable), "--no-deps", "--wheel-dir", str(place), str(root), verb="wheel")
    return max(place.glob("ssl4rl-*.whl"), key=lambda file: file.stat().st_mtime)


def _pip(python: Path, *arguments: str, verb: str = "install") -> None:
    subprocess.run([str(python), "-m", "pip", verb, "--quiet", *arguments], check=True)
