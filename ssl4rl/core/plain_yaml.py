"""YAML as settings need it: text, numbers, true, false, null, lists and mappings with text for keys, within bounds.

`yaml.safe_load` lets more through than a recipe can mean, and stops on some of it with exceptions of other libraries:
dates (also impossible ones), sets and bytes, keys given twice (the last one wins in silence), numbers of thousands of
digits, infinities, aliases that unfold to gigabytes, nesting beyond Python's stack. Here each is one `Ssl4rlError`.
"""

from __future__ import annotations

import math
import re
from typing import Any

import yaml

from ssl4rl.core.types import Ssl4rlError, shortened

MAX_BYTES = 1_000_000
MAX_DEPTH = 32
MAX_VALUES = 10_000
"""How large, how deep and how many values (aliases unfolded) settings may be."""

_TAG = "tag:yaml.org,2002:"
_PLAIN = ("str", "int", "float", "bool", "null", "seq", "map")
_DIGITS = 70  # 64 binary ones, and what may stand before them
_EXPONENT = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+")


class _Refused(Exception):
    """What is wrong, and on which line (from 1)."""

    def __init__(self, what: str, node: yaml.Node | yaml.Event) -> None:
        super().__init__(what)
        self.line = node.start_mark.line + 1 if node.start_mark else 1


class _Loader(yaml.SafeLoader):
    """YAML 1.1 without dates: 2026-02-31 is text, and a name may look like one."""

    def __init__(self, stream: bytes | str) -> None:
        super().__init__(stream)
        self.depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Counts how deep it is, before the stack does."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise _Refused(f"nested deeper than {MAX_DEPTH} levels", self.peek_event())  # type: ignore[no-untyped-call]
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        value = super().construct_yaml_int(node)
        if abs(value) >= 2**63:
            raise _Refused(f"the number {value}; allowed: 64 bits", node)
        return value

    def construct_yaml_float(self, node: yaml.ScalarNode) -> float:
        value = super().construct_yaml_float(node)
        if not math.isfinite(value):
            raise _Refused(f"{shortened(node.value)} is no finite number", node)
        return value


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in found if tag != f"{_TAG}timestamp"]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_constructor(f"{_TAG}int", _Loader.construct_yaml_int)
_Loader.add_constructor(f"{_TAG}float", _Loader.construct_yaml_float)


def read_yaml(text: bytes | str, where: str) -> Any:
    """The value that `text` writes down (bytes: UTF-8, or UTF-16 with its mark); None for an empty text.

    Raises:
        Ssl4rlError: `where`, the line and what is wrong with it.
    """
    if len(text) > MAX_BYTES:
        raise Ssl4rlError(f"{where} is larger than {MAX_BYTES:,} bytes, too large for settings")
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _check(node, {}, set())
        return loader.construct_document(node)
    except _Refused as refused:
        raise Ssl4rlError(f"{where}{_line(text, refused.line)}: {refused}") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = _line(text, mark.line + 1) if mark else ""
        what = error.problem or error.context
        raise Ssl4rlError(f"{where}{line} is not YAML: {shortened(' '.join(str(what).split()))}") from None
    except yaml.reader.ReaderError as error:
        raise Ssl4rlError(f"{where} is not YAML but holds bytes that are no text, at {error.position}") from None
    except (yaml.YAMLError, ValueError, ArithmeticError) as error:  # !!int x
        raise Ssl4rlError(f"{where} is not YAML: {shortened(' '.join(str(error).split()))}") from None


def _line(text: bytes | str, number: int) -> str:
    """Where to look, in a text of several lines."""
    return f", line {number}" if len(text.splitlines()) > 1 else ""


def _check(node: yaml.Node, sizes: dict[int, int], above: set[int]) -> int:
    """How many values the node unfolds to; raises _Refused for what settings cannot hold."""
    if id(node) in sizes:
        return sizes[id(node)]
    if id(node) in above:
        raise _Refused("an alias stands within what it repeats", node)
    kind = node.tag.removeprefix(_TAG)
    if kind not in _PLAIN:
        raise _Refused(f"a value of type {shortened(kind)!r}; allowed: {', '.join(_PLAIN)}", node)
    size = 1
    if isinstance(node, yaml.ScalarNode):
        _check_scalar(node, kind)
    else:
        above.add(id(node))
        parts = node.value
        if isinstance(node, yaml.MappingNode):
            _check_keys(node)
            parts = [value for _, value in node.value]
        for part in parts:
            size += _check(part, sizes, above)
            if size > MAX_VALUES:
                raise _Refused(f"more than {MAX_VALUES:,} values (what aliases repeat counts each time)", part)
        above.remove(id(node))
    sizes[id(node)] = size
    return size


def _check_keys(node: yaml.MappingNode) -> None:
    """Keys are text, and each stands there once. `<<` merges what it names, as ever."""
    seen: dict[str, int] = {}
    for key, _ in node.value:
        if key.tag == f"{_TAG}merge":
            continue
        if not isinstance(key, yaml.ScalarNode):
            raise _Refused("a key is a list or a mapping; allowed: text", key)
        if key.tag != f"{_TAG}str":
            raise _Refused(f"the key {shortened(key.value)} is no text; quote it", key)
        if key.value in seen:
            raise _Refused(f"the key {shortened(key.value)!r} stands on line {seen[key.value]} already", key)
        seen[key.value] = key.start_mark.line + 1
        _check_scalar(key, "str")


def _check_scalar(node: yaml.ScalarNode, kind: str) -> None:
    value: str = node.value
    shown = shortened(value)
    if "\0" in value or (not value.isascii() and any("\ud800" <= c <= "\udfff" for c in value)):
        raise _Refused(f"text with a character that nothing can store: {shown!r}", node)
    if kind == "int" and len(value) > _DIGITS:
        raise _Refused(f"a number of {len(value):,} digits; allowed: 64 bits", node)


def number(value: Any) -> Any:
    """YAML 1.1 reads 1e-5 as text; people mean the number."""
    if not (isinstance(value, str) and _EXPONENT.fullmatch(value)):
        return value
    return found if math.isfinite(found := float(value)) else value
