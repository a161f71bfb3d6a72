from __future__ import annotations

from ssl4rl.graph import TASKS
from ssl4rl.graph.graph import Rooted
from tests import golden
from tests.graph.helpers import Items, texts_graph

MORE_LEVELS = {
    "graph/masked_edge": ["tiny,answer=edge", "medium,encoding=json,names=given"],
    "graph/masked_node": ["text,options=3,mask=false", "structure,encoding=graphml,text=text"],
    "graph/neighbours": ["texts,encoding=text,names=own"],
    "graph/perturbed_edge": ["easy,answer=edge"],
    "graph/link_prediction": ["near,own_text=false"],
}


def current() -> golden.Golden:
    graph = texts_graph(7, nodes=120, shares=(0.4, 0.3, 0.2, 0.1))
    return golden.compute(TASKS, Items([Rooted(graph, node) for node in range(graph.num_nodes)]), MORE_LEVELS)


def test_examples_are_what_they_were() -> None:
    """Where this fails on purpose: raise the task's `version`, then `python -m tests.golden`."""
    now, then = current(), golden.stored("graph")
    assert {name: entry["version"] for name, entry in now.items()} == {n: e["version"] for n, e in then.items()}
    changed = [
        f"{n} {at}" for n in then for at in then[n]["digests"] if now[n]["digests"].get(at) != then[n]["digests"][at]
    ]
    assert changed == []
