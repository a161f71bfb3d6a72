"""A picture task inside your own TRL script: a dataset, two reward functions, nothing else of ours.

    python examples/trainers/trl_grpo.py MODEL [PHOTOS]

MODEL is a folder or hub id of a vision-language model, PHOTOS any folder of pictures (default: the embedded ones).
Two steps of 2 prompts x 4 completions with two pictures a prompt took 5 s on one CPU core with a model of 0.1 M
parameters at random weights, which earns 0 (chance 0.25): it shows that the parts fit. For a real model raise
`max_steps`, drop `use_cpu`, and run it as you run TRL:

    accelerate launch examples/trainers/trl_grpo.py Qwen/Qwen2.5-VL-3B-Instruct photos/
"""

import sys
import tempfile

from trl import GRPOConfig, GRPOTrainer

from ssl4rl.export.trl import dataset, reward_functions


def main(arguments: list[str]) -> list[dict[str, float]]:
    """Trains two steps and returns TRL's log lines."""
    model, photos = arguments[0], arguments[1] if len(arguments) > 1 else "sample:"
    trainer = GRPOTrainer(
        model=model,
        args=GRPOConfig(
            output_dir=tempfile.mkdtemp(),
            per_device_train_batch_size=8,
            num_generations=4,
            max_completion_length=16,
            max_steps=2,
            logging_steps=1,
            reward_weights=[1.0, 0.1],
            report_to="none",
            save_strategy="no",
            bf16=False,
            use_cpu=True,
        ),
        train_dataset=dataset("vision/rotation", photos, size=100, level="90deg,image_px=56"),
        reward_funcs=reward_functions(),
    )
    trainer.train()
    return [line for line in trainer.state.log_history if "loss" in line]


if __name__ == "__main__":
    for line in main(sys.argv[1:]):
        print({name: line[name] for name in ("reward", "rewards/accuracy/mean", "rewards/format/mean")})
