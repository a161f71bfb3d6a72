"""The contract: tasks, verifiers, sources, datasets. Names no modality and imports no torch (but for grpo/)."""
