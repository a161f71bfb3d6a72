"""Self-supervised tasks as verifiable rewards for reinforcement learning of vision-language and language models.

Importing this imports neither torch nor PIL; names are loaded when first used. What the command line does, Python does
by `train`, `evaluate`, `bench`, `probe`, `preview`, `audit`, `check`, `plan` and `report`, which it calls: each gives a
record with the figures, a text (`print`) and a page (`save`, or as the last line of a notebook's cell).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ssl4rl.core.dataset import TaskDataset as TaskDataset
    from ssl4rl.core.mixture import create_dataset as create_dataset
    from ssl4rl.core.source import Source as Source
    from ssl4rl.core.strategies import Strategy as Strategy
    from ssl4rl.core.task import Task as Task
    from ssl4rl.core.task import keyed_rng as keyed_rng
    from ssl4rl.core.types import Example as Example
    from ssl4rl.core.types import Key as Key
    from ssl4rl.core.types import Media as Media
    from ssl4rl.core.types import Score as Score
    from ssl4rl.core.types import Ssl4rlError as Ssl4rlError
    from ssl4rl.core.types import Unusable as Unusable
    from ssl4rl.core.verify import Angle as Angle
    from ssl4rl.core.verify import Box as Box
    from ssl4rl.core.verify import Choice as Choice
    from ssl4rl.core.verify import EdgeSet as EdgeSet
    from ssl4rl.core.verify import FreeText as FreeText
    from ssl4rl.core.verify import Integer as Integer
    from ssl4rl.core.verify import NodeSet as NodeSet
    from ssl4rl.core.verify import Number as Number
    from ssl4rl.core.verify import Path as Path
    from ssl4rl.core.verify import Permutation as Permutation
    from ssl4rl.core.verify import Text as Text
    from ssl4rl.core.verify import Verifier as Verifier
    from ssl4rl.export.rows import rows as rows
    from ssl4rl.export.rows import score as score
    from ssl4rl.tools.audit.audit import audit as audit
    from ssl4rl.tools.bench.bench import bench as bench
    from ssl4rl.tools.check.check import check as check
    from ssl4rl.tools.evaluate.evaluate import evaluate as evaluate
    from ssl4rl.tools.plan.plan import plan as plan
    from ssl4rl.tools.preview.preview import preview as preview
    from ssl4rl.tools.probe.probe import probe as probe
    from ssl4rl.tools.report.report import report as report
    from ssl4rl.tools.train import train as train

__version__ = "0.1.0"

_HOME = {
    "core.dataset": ["TaskDataset"],
    "core.mixture": ["create_dataset"],
    "core.source": ["Source"],
    "core.strategies": ["Strategy"],
    "core.task": ["Task", "keyed_rng"],
    "core.types": ["Example", "Key", "Media", "Score", "Ssl4rlError", "Unusable"],
    "export.rows": ["rows", "score"],
    "core.verify": [
        "Angle",
        "Box",
        "Choice",
        "EdgeSet",
        "FreeText",
        "Integer",
        "NodeSet",
        "Number",
        "Path",
        "Permutation",
        "Text",
        "Verifier",
    ],
    "tools.audit.audit": ["audit"],
    "tools.bench.bench": ["bench"],
    "tools.check.check": ["check"],
    "tools.evaluate.evaluate": ["evaluate"],
    "tools.plan.plan": ["plan"],
    "tools.preview.preview": ["preview"],
    "tools.probe.probe": ["probe"],
    "tools.report.report": ["report"],
    "tools.train": ["train"],
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}
__all__ = sorted(_MODULE_OF)


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'ssl4rl' has no attribute {name!r}")
    return getattr(import_module(f"ssl4rl.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
