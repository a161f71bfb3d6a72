"""Verifiers of answers made of names: a set of nodes, a set of edges, a path.

The names an answer may use are `meta["nodes"]`, a list of strings; see `names` for how they are read.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from ssl4rl.core.types import Example
from ssl4rl.core.verify import guessing, made, names
from ssl4rl.core.verify.base import Verifier

if TYPE_CHECKING:
    import numpy as np


DRAWS = 2000
"""Random answers that `expected` is the mean of where several sets are right."""

_NODES = "names that an answer may use"


def _are_names(answer: Any) -> bool:
    return made.is_list(answer) and len(answer) > 0 and all(map(made.is_plain, answer))


def _require_nodes(example: Example, said: Iterable[Any]) -> None:
    """`meta["nodes"]` is a list of names, those `said` in answers among them."""
    made.listed(example, "nodes", _NODES, least=1, needed=True)
    nodes = {str(node) for node in example.meta["nodes"]}
    other = next((name for name in said if str(name) not in nodes), None)
    if other is not None:
        made.refuse("a node of the answer", other, "names that are in meta['nodes']")


@dataclass(frozen=True)
class NodeSet(Verifier):
    """A set of nodes, "3, 7, 12", "3 and 7" or one a line; order and repetition do not matter.

    Where the question says how many are asked for, `meta["count"]` does too, and more or fewer are unparsed (naming all
    would earn something for nothing).
    Reward: F1 with the true set; where no number is told, as much as it is better than naming all, max(0, (F1 - b) /
    (1 - b)) with b = 2d / (d + n). A name that is no node makes the answer unparsed. Guessing draws a set of the true
    size: chance is 1 / C(nodes, size). Expected: where the number is told that size / nodes, else what sets of the
    size that earns most do.
    """

    answers: ClassVar[str] = "a list of nodes' names, at least one"

    def is_answer(self, answer: Any) -> bool:
        return _are_names(answer)

    def require(self, example: Example) -> None:
        super().require(example)
        _require_nodes(example, itertools.chain(*example.accepted))
        made.whole(example, "count", 1, len(example.meta["nodes"]), "how many nodes are asked for")

    @property
    def instruction(self) -> str:
        return "Answer with the names of the nodes, separated by commas."

    def parse(self, text: str, example: Example) -> list[str] | None:
        found = names.listed(text, names.spelling(example), names.SEPARATOR, names.AND)
        if found is None or len(set(found)) != example.meta.get("count", len(set(found))):
            return None
        return sorted(set(found))

    def grade(self, parsed: Any, example: Example) -> float:
        said, among, told = set(parsed), len(example.meta["nodes"]), "count" in example.meta
        right = [{str(node) for node in answer} for answer in example.accepted]
        return max(guessing.credit(len(said & own), len(said), len(own), among, told) for own in right)

    def render(self, answer: Any) -> str:
        return ", ".join(str(node) for node in answer)

    def random_answer(self, example: Example, rng: np.random.Generator) -> list[str]:
        return self._draw(example, len(set(example.answer)), rng)

    def best_guess(self, example: Example, rng: np.random.Generator) -> list[str]:
        if "count" in example.meta:
            return self.random_answer(example, rng)
        return self._draw(example, guessing.best_size(len(set(example.answer)), len(example.meta["nodes"]))[0], rng)

    def _draw(self, example: Example, size: int, rng: np.random.Generator) -> list[str]:
        nodes = [str(node) for node in example.meta["nodes"]]
        return sorted(nodes[i] for i in rng.choice(len(nodes), size, replace=False))

    def chance(self, example: Example) -> float:
        size = len(set(example.answer))
        alike = {frozenset(answer) for answer in example.accepted if len(set(answer)) == size}
        return len(alike) / math.comb(len(example.meta["nodes"]), size)

    def expected(self, example: Example) -> float:
        """Exact for one accepted set; with several, the mean of `DRAWS` guesses, of the size best for the first."""
        if len(example.accepted) > 1:
            return _mean_grade(self, example)
        size, among = len(set(example.answer)), len(example.meta["nodes"])
        return size / among if "count" in example.meta else guessing.best_size(size, among)[1]


@dataclass(frozen=True)
class EdgeSet(Verifier):
    """A set of edges, "A-B, C-D" (also "A->B", "B<-A", "(A, B)", one a line); direction counts only when `directed`.

    `meta["candidates"]` can narrow the edges that an answer may use to a list; the question then says how many are
    asked for, and an answer with more or fewer is unparsed (naming all of them would earn something for nothing).
    Reward: F1 with the true set; without candidates as much as it is better than naming all pairs of nodes, as for
    `NodeSet`. Guessing draws a set of the true size among all candidates, or all pairs of nodes; expected as there.
    """

    directed: bool = False
    answers: ClassVar[str] = "a list of edges, each a pair of names, at least one"

    def is_answer(self, answer: Any) -> bool:
        return made.is_list(answer) and len(answer) > 0 and all(map(made.is_pair, answer))

    def require(self, example: Example) -> None:
        super().require(example)
        made.paired(example, "candidates", "a list of edges, each a pair of names")
        among = example.meta.get("candidates", ())
        if 0 < len(among) < len(example.answer):
            made.refuse("meta['candidates']", among, f"the {len(example.answer)} edges of the answer, and others")
        _require_nodes(example, itertools.chain(*itertools.chain(*example.accepted)))

    @property
    def instruction(self) -> str:
        arrow = "->" if self.directed else "-"
        return f"Answer with the edges as A{arrow}B, separated by commas."

    def _edge(self, u: str, v: str) -> tuple[str, str]:
        return (u, v) if self.directed or u <= v else (v, u)

    def _edges(self, answer: Sequence[Sequence[Any]]) -> set[tuple[str, str]]:
        return {self._edge(str(u), str(v)) for u, v in answer}

    def parse(self, text: str, example: Example) -> list[list[str]] | None:
        pairs = names.pairs(text, names.spelling(example), self.directed)
        if pairs is None:
            return None
        edges = {self._edge(u, v) for u, v in pairs}
        candidates = self._candidates(example)
        if candidates and (not edges <= set(candidates) or len(edges) != len(self._edges(example.answer))):
            return None
        return [list(edge) for edge in sorted(edges)]

    def grade(self, parsed: Any, example: Example) -> float:
        said, among, told = self._edges(parsed), self._pairs(example), bool(example.meta.get("candidates"))
        right = [self._edges(answer) for answer in example.accepted]
        return max(guessing.credit(len(said & own), len(said), len(own), among, told) for own in right)

    def render(self, answer: Any) -> str:
        arrow = "->" if self.directed else "-"
        return ", ".join(f"{u}{arrow}{v}" for u, v in answer)

    def _candidates(self, example: Example) -> list[tuple[str, str]]:
        return sorted(self._edges(example.meta.get("candidates", ())))

    def _pairs(self, example: Example) -> int:
        if candidates := self._candidates(example):
            return len(candidates)
        nodes = len(example.meta["nodes"])
        return math.perm(nodes, 2) if self.directed else math.comb(nodes, 2)

    def random_answer(self, example: Example, rng: np.random.Generator) -> list[list[str]]:
        return self._draw(example, len(self._edges(example.answer)), rng)

    def best_guess(self, example: Example, rng: np.random.Generator) -> list[list[str]]:
        if example.meta.get("candidates"):
            return self.random_answer(example, rng)
        size, _ = guessing.best_size(len(self._edges(example.answer)), self._pairs(example))
        return self._draw(example, size, rng)

    def _draw(self, example: Example, size: int, rng: np.random.Generator) -> list[list[str]]:
        if candidates := self._candidates(example):
            drawn = rng.choice(len(candidates), size, replace=False)
            return [list(candidates[i]) for i in sorted(drawn.tolist())]
        nodes = sorted(str(node) for node in example.meta["nodes"])
        edges: set[tuple[str, str]] = set()
        while len(edges) < size:
            u, v = rng.choice(len(nodes), 2, replace=False)
            edges.add(self._edge(nodes[u], nodes[v]))
        return [list(edge) for edge in sorted(edges)]

    def chance(self, example: Example) -> float:
        size = len(self._edges(example.answer))
        alike = {frozenset(self._edges(a)) for a in example.accepted if len(self._edges(a)) == size}
        return len(alike) / math.comb(self._pairs(example), size)

    def expected(self, example: Example) -> float:
        """Exact for one accepted set, and for single candidates; else the mean of `DRAWS` guesses."""
        size, among = len(self._edges(example.answer)), self._pairs(example)
        told = bool(example.meta.get("candidates"))
        if told and size == 1:
            return self.chance(example)
        if len(example.accepted) > 1:
            return _mean_grade(self, example)
        return size / among if told else guessing.best_size(size, among)[1]


def _mean_grade(verifier: Verifier, example: Example) -> float:
    """What guesses of a fixed generator earn on average."""
    import numpy as np

    rng = np.random.default_rng(0)
    return float(np.mean([verifier.grade(verifier.best_guess(example, rng), example) for _ in range(DRAWS)]))


@dataclass(frozen=True)
class Path(Verifier):
    """A path, "A, C, B" (also with arrows or dashes, one node a line), checked edge by edge.

    Every path of the right length is right.

    The example carries `meta["edges"]` (pairs that may be walked; both ways unless `directed`, which
    `meta["directed"]` overrides for one example) and its answer is one right path: start, end and length are read off
    it. Reward: exact. Guessing draws the nodes between start and end at random, so chance is `meta["paths"]` (how many
    right paths there are) / arrangements of the nodes between.
    """

    directed: bool = False
    answers: ClassVar[str] = "a list of nodes' names from start to end"

    def is_answer(self, answer: Any) -> bool:
        return _are_names(answer) and len(answer) > 1

    def require(self, example: Example) -> None:
        super().require(example)
        _require_nodes(example, example.answer)
        made.paired(example, "edges", "a list of the edges that may be walked, each a pair of names", needed=True)
        if not made.is_number(example.meta.get("paths")):
            made.refuse("meta['paths']", example.meta.get("paths"), "how many right paths there are")

    @property
    def instruction(self) -> str:
        return "Answer with the nodes along the path, start and end included, separated by commas."

    def parse(self, text: str, example: Example) -> list[str] | None:
        return names.listed(text, names.spelling(example), names.STEP, names.STEP_OR_AND)

    def grade(self, parsed: Any, example: Example) -> float:
        answer = [str(node) for node in example.answer]
        edges = {(str(u), str(v)) for u, v in example.meta["edges"]}
        if not example.meta.get("directed", self.directed):
            edges |= {(v, u) for u, v in edges}
        ends_fit = (parsed[0], parsed[-1], len(parsed)) == (answer[0], answer[-1], len(answer))
        return float(ends_fit and all(step in edges for step in itertools.pairwise(parsed)))

    def render(self, answer: Any) -> str:
        return ", ".join(str(node) for node in answer)

    def _between(self, example: Example) -> list[str]:
        ends = {str(example.answer[0]), str(example.answer[-1])}
        return [str(node) for node in example.meta["nodes"] if str(node) not in ends]

    def random_answer(self, example: Example, rng: np.random.Generator) -> list[str]:
        between = self._between(example)
        picked = rng.choice(len(between), len(example.answer) - 2, replace=False)
        return [str(example.answer[0]), *(between[i] for i in picked), str(example.answer[-1])]

    def chance(self, example: Example) -> float:
        ways = math.perm(len(self._between(example)), len(example.answer) - 2)
        return float(example.meta["paths"]) / ways
