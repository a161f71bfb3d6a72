"""Writes tests/tools/bench/vlmevalkit.json: VLMEvalKit's own scores of the replies in tests/tools/bench/cases.py.

    pip install --no-deps ms-vlmeval==0.0.20        # and, one by one, what its import asks for
    PRED_FORMAT=tsv python scripts/score_with_vlmevalkit.py

Its multiple-choice module is imported by itself: the package's __init__ imports every benchmark there is. Answers are
matched exactly (no judge model), by `mcq_circular_eval` and `eval_vanilla`, and counted by `report_acc`.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import tempfile
import types
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))


def vlmevalkit() -> Any:
    """VLMEvalKit's dataset/utils/multiple_choice.py."""
    found = importlib.util.find_spec("vlmeval")
    home = str(Path(str(found.origin)).parent) if found else ""
    for name in ("vlmeval", "vlmeval.dataset", "vlmeval.dataset.utils", "vlmeval.utils"):
        module = types.ModuleType(name)
        module.__path__ = [home + name.removeprefix("vlmeval").replace(".", "/")]
        sys.modules[name] = module
    from vlmeval.utils import matching_util

    utils: Any = sys.modules["vlmeval.utils"]
    utils.can_infer, utils.can_infer_lego = matching_util.can_infer, matching_util.can_infer_lego
    utils.track_progress_rich = None  # runs judges, and there is none
    from vlmeval.dataset.utils import multiple_choice

    return multiple_choice


def main() -> None:
    import pandas as pd

    from tests.tools.bench import cases

    kit = vlmevalkit()
    found: dict[str, Any] = {}
    for name in cases.NAMES:
        table = pd.DataFrame(list(cases.rows(name))).replace("", None)
        table["index"] = table["index"].astype(int)
        table["prediction"] = [cases.reply(name, row) for row in cases.rows(name)]
        with tempfile.TemporaryDirectory() as folder:
            scored = kit.mcq_circular_eval(None, table.copy(), table.copy(), 1, f"{folder}/result.pkl", name)
        once = table[table["index"] < 1_000_000].copy()
        once["GT"] = once["answer"]
        once["hit"] = [kit.eval_vanilla(None, row)["hit"] for _, row in once.iterrows()]
        found[name] = {
            "circular": kit.report_acc(scored.copy()).iloc[0].to_dict(),
            "once": kit.report_acc(once.copy()).iloc[0].to_dict(),
            "hits": "".join(str(int(hit)) for hit in scored["hit"]),
            "hits_once": "".join(str(int(hit)) for hit in once["hit"]),
        }
        for way in ("circular", "once"):
            found[name][way].pop("split")
    (ROOT / "tests/tools/bench/vlmevalkit.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
