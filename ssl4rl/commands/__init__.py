"""Commands that `cli.py` adds to its own: each parses, calls and prints. In go arguments, out come lines and JSON."""
