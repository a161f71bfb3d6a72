"""Where the figures of hostile runs are kept: one JSON file, each script under its own name (`--json FILE`)."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def keep(path: Path | None, name: str, found: Mapping[str, Any]) -> None:
    """Puts what a script `found` under its `name`; what others put there stays. Nothing is done without a path."""
    if path is None:
        return
    kept = json.loads(path.read_text()) if path.exists() else {}
    machine = {"python": platform.python_version(), "system": platform.system(), "cpus": os.cpu_count()}
    kept[name] = {**found, "machine": machine}
    path.write_text(json.dumps(dict(sorted(kept.items())), indent=1) + "\n")
