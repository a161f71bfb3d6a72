"""Models of one's own code: by a file that the recipe names, or by what the folder brings where that is trusted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ssl4rl.core.grpo.model.policy import load_policy
from ssl4rl.core.types import Ssl4rlError
from tests.core.grpo.runs import recipe, run
from tests.tiny_models import build

MINE = """
from transformers import AutoConfig, AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

class {0}Config(LlamaConfig):
    model_type = "{1}"

class {0}ForCausalLM(LlamaForCausalLM):
    config_class = {0}Config
"""
REGISTERED = """
AutoConfig.register("{1}", {0}Config)
AutoModelForCausalLM.register({0}Config, {0}ForCausalLM)
"""


def folder(path: Path, kind: str, **config: object) -> Path:
    """A tiny model whose config names an architecture that transformers does not know."""
    build("llama", path)
    told = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**told, "model_type": kind, **config}))
    return path


def test_a_file_that_registers_an_architecture(tmp_path: Path) -> None:
    model = folder(tmp_path / "m", "ours_by_file")
    with pytest.raises(Ssl4rlError, match="ours_by_file"):
        load_policy(str(model), device="cpu")
    code = tmp_path / "my_model.py"
    code.write_text((MINE + REGISTERED).format("Mine", "ours_by_file"))
    settings = recipe(
        tmp_path / "runs", model, text=True, train={"steps": 1}, model={"path": str(model), "code": str(code)}
    )
    run(settings)
    policy = load_policy(str(settings.folder / "final"), device="cpu", code=str(code))
    assert type(policy.model).__name__ == "MineForCausalLM"
    with pytest.raises(Ssl4rlError, match=r"plugin file .*absent.py' does not exist"):
        load_policy(str(model), device="cpu", code=str(tmp_path / "absent.py"))


def test_a_folders_own_code_runs_only_where_it_is_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    marks = {"AutoConfig": "theirs.TheirsConfig", "AutoModelForCausalLM": "theirs.TheirsForCausalLM"}
    model = folder(tmp_path / "m", "theirs_by_folder", auto_map=marks)
    ran = tmp_path / "ran"
    (model / "theirs.py").write_text(
        MINE.format("Theirs", "theirs_by_folder") + f"\nfrom pathlib import Path\nPath({str(ran)!r}).touch()\n"
    )
    with pytest.raises(Ssl4rlError, match="trust_remote_code"):
        load_policy(str(model), device="cpu")
    assert not ran.exists()
    assert type(load_policy(str(model), device="cpu", trust=True).model).__name__ == "TheirsForCausalLM"
    assert ran.exists()
