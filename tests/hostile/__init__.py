"""Inputs that hang, fill memory, escape or break: made by script from a seed, and opened in child processes."""
