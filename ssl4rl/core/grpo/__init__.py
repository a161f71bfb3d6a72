"""The GRPO loop. In goes a recipe, out come a run's folder and its summary. Start reading at `run.py`: `opening.py`
loads and checks, `native.py` (or `trl/`) runs the steps, `trainer.py` is one step, and each room below it is one
idea.
"""
