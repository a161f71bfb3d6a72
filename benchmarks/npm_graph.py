"""A graph that nobody here drew: npm packages, an edge from each to what it depends on. Fetched, never shipped.

    python benchmarks/npm_graph.py OUT.graphml [--packages 1500]

Goes from a few well-known packages along dependencies and development dependencies, breadth first, asking the registry
that npm is configured for. A node carries its description (`text`) and as `topic` the one of TOPICS among its keywords
("none": none of them, or several). Packages without a description are passed over.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import urllib.parse
import urllib.request
from collections import Counter, deque
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import networkx as nx

TOPICS = {"react": "react", "cli": "terminal", "terminal": "terminal", "test": "test", "testing": "test", "css": "css"}
"""A keyword of the registry -> the topic it stands for."""
SEEDS = """\
react-dom react-router-dom react-select react-redux @mui/material antd next storybook styled-components
commander yargs chalk ora inquirer blessed ink oclif boxen terminal-kit listr
jest mocha chai sinon ava tap karma jasmine nyc cypress vitest supertest
postcss tailwindcss sass less stylelint cssnano autoprefixer css-loader purgecss bootstrap
express koa fastify webpack rollup eslint gulp babel-cli socket.io mongoose
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--packages", type=int, default=1500)
    asked = parser.parse_args()
    registry = subprocess.run(["npm", "config", "get", "registry"], capture_output=True, text=True, check=True)
    found = _crawled(registry.stdout.strip().rstrip("/"), asked.packages)
    graph = nx.DiGraph()
    for name, package in found.items():
        among = {TOPICS[word] for word in map(str.lower, package["keywords"]) if word in TOPICS}
        graph.add_node(name, text=package["description"], topic=among.pop() if len(among) == 1 else "none")
    for name, package in found.items():
        graph.add_edges_from((name, other) for other in package["needs"] if other in found)
    nx.write_graphml(graph, asked.out)
    topics = Counter(nx.get_node_attributes(graph, "topic").values())
    print(f"{len(graph)} packages, {graph.number_of_edges()} edges, {dict(topics)}")


def _crawled(registry: str, most: int) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    queue, seen = deque(SEEDS.split()), set(SEEDS.split())
    with ThreadPoolExecutor(8) as pool:
        while queue and len(found) < most:
            names = [queue.popleft() for _ in range(min(64, len(queue)))]
            for name, package in zip(names, pool.map(lambda name: _package(registry, name), names), strict=True):
                if package is None:
                    continue
                found[name] = package
                new = [other for other in package["needs"] if other not in seen]
                seen.update(new)
                queue.extend(new)
    return found


def _package(registry: str, name: str) -> dict[str, Any] | None:
    try:
        with urllib.request.urlopen(f"{registry}/{urllib.parse.quote(name, safe='@')}/latest", timeout=30) as answer:
            told = json.load(answer)
    except (OSError, ValueError):
        return None
    if not told.get("description"):
        return None
    words = told.get("keywords") or []
    needs = [*(told.get("dependencies") or {}), *(told.get("devDependencies") or {})]
    return {
        "description": told["description"],
        "keywords": words if isinstance(words, list) else [words],
        "needs": needs,
    }


if __name__ == "__main__":
    main()
