"""What a run's weights are loaded with: as the run trained them."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from ssl4rl.tools.run_log import read_run
from ssl4rl.tools.weights import loading_of

PLAIN = {"code": "", "trust": False, "dtype": "auto"}


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ({}, PLAIN),
        ({"dtype": "bfloat16"}, {**PLAIN, "dtype": "bfloat16"}),
        ({"dtype": "float32", "code": "./m.py"}, {"code": "./m.py", "trust": False, "dtype": "float32"}),
        ({"dtype": "half of it"}, PLAIN),
        ({"trust_remote_code": True}, {**PLAIN, "trust": True}),
    ],
)
def test_a_run_is_measured_in_its_own_precision(
    model: dict[str, object], expected: dict[str, object], tmp_path: Path
) -> None:
    (tmp_path / "recipe.yaml").write_text(
        yaml.safe_dump({"name": "x", "model": {"path": "embedded:tiny_vlm", **model}})
    )
    assert loading_of(read_run(tmp_path)) == expected


def test_what_is_no_run_is_loaded_as_it_comes() -> None:
    assert loading_of(None) == {}
