"""`python -m ssl4rl`: the command line, also as `torchrun --nproc_per_node=2 -m ssl4rl train RECIPE`."""

from ssl4rl.cli import main

if __name__ == "__main__":
    main()
