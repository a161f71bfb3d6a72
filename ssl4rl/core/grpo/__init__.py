"""The GRPO loop, on torch."""
