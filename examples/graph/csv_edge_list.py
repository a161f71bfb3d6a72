"""Train on a graph of one's own: a CSV of edges and a CSV of nodes, whose texts and labels become questions.

    python examples/graph/csv_edge_list.py edges.csv nodes.csv --label topic --values "art|food|music" --text title

edges.csv has the columns source and target; nodes.csv an id, a text and a label a node. A small Llama, made on the
spot, learns to say a node's label, one of --values, from its text and its neighbours'. Expect chance to be 1 / values,
and a step of 32 prompts to take under a second on a CPU core. What can be reached depends on the graph: on the embedded
Debian packages a logistic regression on the same words reaches 0.91 to 0.97 with four values.
"""

import argparse

from ssl4rl.core.grpo.run import train
from ssl4rl.core.recipe import make_recipe


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("edges")
    parser.add_argument("nodes")
    parser.add_argument("--label", default="label")
    parser.add_argument("--values", required=True, help="a|b|c: the labels that are asked for")
    parser.add_argument("--text", default="text")
    parser.add_argument("--model", default="embedded:tiny_llama")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--prompts", type=int, default=32)
    parser.add_argument("--out", default="runs")
    given = parser.parse_args(arguments)
    options = given.values.count("|") + 1
    level = f"text,column={given.label},text={given.text},answer=value,values={given.values},options={options}"
    recipe = make_recipe(
        {
            "name": "csv_edge_list",
            "model": {"path": given.model},
            "data": f"edges:{given.edges}?nodes={given.nodes}",
            "tasks": [{"task": "graph/masked_node", "level": level}],
            "prompt": {"style": "answer"},
            "sampling": {"max_new_tokens": 12},
            "warmup": {"steps": min(40, given.steps), "prompts_per_step": given.prompts, "lr": 1e-3, "rehearsal": 0.2},
            "grpo": {"group_size": 8, "prompts_per_step": given.prompts, "advantage_scale": "batch"},
            "optim": {"lr": 1e-3},
            "train": {"steps": given.steps},
            "eval": {"n": min(200, 8 * given.prompts)},
            "out": given.out,
            "overwrite": True,
        }
    )
    return train(recipe)


if __name__ == "__main__":
    main()
