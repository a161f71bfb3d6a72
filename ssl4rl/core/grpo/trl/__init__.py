"""The other engine: the same recipe through TRL's GRPOTrainer by its public surface alone. In goes a recipe, out
comes the same folder as the native engine's. Start at `engine.py`.
"""
