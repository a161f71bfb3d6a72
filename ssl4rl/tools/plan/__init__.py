"""Memory before it is spent: a recipe comes in, the step's own code is run on tensors that have sizes and no memory,
and its most comes out, by phase and by part. Overrides that fit a smaller card are found by planning again.
"""
