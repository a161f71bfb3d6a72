"""What a run leaves and says. In go steps, rollouts and evaluations, out come the run's folder (`run_dir.py`), its
lines on the screen (`console.py`) and its held-out figures. Start at `run_dir.py`.
"""
