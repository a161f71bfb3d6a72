"""Settings as YAML: what safe_load lets through or stumbles over is one line here."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ssl4rl.core.plain_yaml import number, read_yaml
from ssl4rl.core.types import Ssl4rlError

LISTS = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 10)
)
MERGES = "a0: &a0 {x: 1}\n" + "".join(f"a{i}: &a{i}\n  <<: [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 10))
KINDS = "allowed: str, int, float, bool, null, seq, map"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: !!timestamp 2026-99-99", f"it: a value of type 'timestamp'; {KINDS}"),
        ("a: !!python/object:os.system x", f"it: a value of type 'python/object:os.system'; {KINDS}"),
        ("a: !!binary aGk=", f"it: a value of type 'binary'; {KINDS}"),
        ("a: " + "[" * 1000 + "]" * 1000, "it: nested deeper than 32 levels"),
        ("{a: " * 100_000, "it: nested deeper than 32 levels"),
        ("- " * 100_000, "it: nested deeper than 32 levels"),
        ("a: 1\nb: " + "9" * 5000, "it, line 2: a number of 5,000 digits; allowed: 64 bits"),
        ("a: 9223372036854775808", "it: the number 9223372036854775808; allowed: 64 bits"),
        ("a: .inf", "it: .inf is no finite number"),
        ("a: -.INF", "it: -.INF is no finite number"),
        ("a: .nan", "it: .nan is no finite number"),
        (LISTS, "it, line 3: more than 10,000 values (what aliases repeat counts each time)"),
        (MERGES, "it, line 6: more than 10,000 values (what aliases repeat counts each time)"),
        ("a: &a {x: *a}", "it: an alias stands within what it repeats"),
        ("a: *b", "it is not YAML: found undefined alias 'b'"),
        ("a: 1\nb:\n  c: 2\n  c: 3\n", "it, line 4: the key 'c' stands on line 3 already"),
        ("a:\n\tb: 1\n", "it, line 2 is not YAML: found character '\\t' that cannot start any token"),
        ("1: 2", "it: the key 1 is no text; quote it"),
        ("yes: 2", "it: the key yes is no text; quote it"),
        ("? [a]\n: 2\n", "it, line 1: a key is a list or a mapping; allowed: text"),
        ("a: 1\n---\nb: 2\n", "it, line 2 is not YAML: but found another document"),
        ('a: "b\\0c"', "it: text with a character that nothing can store: 'b\\x00c'"),
        ('a: "\\ud800"', "it: text with a character that nothing can store: '\\ud800'"),
        ("a: !!int x", "it is not YAML: invalid literal for int() with base 10: 'x'"),
        (b"\x89PNG\r\n\x1a\n\0", "it is not YAML but holds bytes that are no text, at 0"),
        ("a: x\0", "it is not YAML but holds bytes that are no text, at 4"),
        ("x" * 1_000_001, "it is larger than 1,000,000 bytes, too large for settings"),
    ],
)
def test_what_settings_cannot_hold_is_one_line(text: str | bytes, line: str) -> None:
    with pytest.raises(Ssl4rlError) as error:
        read_yaml(text, "it")
    assert str(error.value) == line


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("# nothing", None),
        ("a: 2026-02-31", {"a": "2026-02-31"}),
        ("a: 2026-01-31", {"a": "2026-01-31"}),
        ("a: &x {b: [1.5, null, true]}\nd: *x", {"a": {"b": [1.5, None, True]}, "d": {"b": [1.5, None, True]}}),
        ("a: &x {b: 1, c: 2}\nd: {<<: *x, c: 3}", {"a": {"b": 1, "c": 2}, "d": {"b": 1, "c": 3}}),
        ("a: -9223372036854775807", {"a": -9223372036854775807}),
        ("a: ünï".encode(), {"a": "ünï"}),
        ("a: ünï".encode("utf-16"), {"a": "ünï"}),
    ],
)  # fmt: skip
def test_what_settings_may_be(text: str | bytes, value: object) -> None:
    assert read_yaml(text, "it") == value


def test_numbers_as_people_write_them() -> None:
    assert [number(x) for x in ("1e-5", "-2E+3", ".5e1", "5.e1")] == [1e-5, -2000.0, 5.0, 50.0]
    assert [number(x) for x in ("1e400", "inf", "nan", "1_0", "e5", "1", True, None)] == [
        *("1e400", "inf", "nan", "1_0", "e5", "1"),
        *(True, None),
    ]


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=("Cs", "Cc"))),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.text(st.characters(exclude_categories=("Cs", "Cc"))), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(PLAIN)
def test_plain_values_come_back(value: object) -> None:
    assert read_yaml(yaml.safe_dump(value, allow_unicode=True), "it") == value


@given(st.text() | st.binary() | st.text("{}[]&*a: -\n\t!?|>'\"#%0.,<"))
def test_no_text_raises_anything_else(text: str | bytes) -> None:
    line = ""
    try:
        read_yaml(text, "it")
    except Ssl4rlError as error:
        line = str(error)
    assert "\n" not in line
    assert len(line) < 300
