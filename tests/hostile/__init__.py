"""Inputs made to hang, to fill memory, to escape or to break: made by script from a seed, and opened in child processes."""
