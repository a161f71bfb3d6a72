"""Probe a model, then choose: which task and level can it learn from now? Prints a recipe's lines for it.

    python examples/vision/probe_then_choose.py Qwen/Qwen2.5-VL-3B-Instruct photos/
    python examples/vision/probe_then_choose.py runs/quickstart_vision scenes: --task vision/rotation

The model may be a run. The default, made on the spot and never trained, writes no answer at all: every level of
rotation says "truncated", success 0.00 (chance 0.50 to 0.04), and the hint is a format warm-up. A few seconds a level
on a CPU core. A run of quickstart_vision gets .90 of its own level right (held out), so "learnable" or "solved" there.
"""

import argparse

import ssl4rl


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="embedded:tiny_vlm")
    parser.add_argument("photos", nargs="?", default="sample:")
    parser.add_argument("--task", action="append", default=[])
    parser.add_argument("--level", default=None, help='"all,image_px=32" for a model that reads small pictures')
    parser.add_argument("-n", type=int, default=24)
    parser.add_argument("--tokens", type=int, default=None, help="the longest reply")
    given = parser.parse_args(arguments)
    found = ssl4rl.probe(
        given.model, given.task, data=given.photos, level=given.level, n=given.n, max_new_tokens=given.tokens
    )
    for row in found.rows:
        print(f"{row.name}: {row.status}, success {row.success:.2f}, chance {row.chance:.2f}, signal {row.signal:.2f}")
    for advice in found.advice:
        print(f"{advice.task}: {f'start at {advice.start.level}' if advice.start else 'nothing yet'}, {advice.why}")
    print("\n".join(found.hints))
    print(found.recipe)
    return found


if __name__ == "__main__":
    main()
