"""What is trained. In go a path (a folder, a hub id, or a name of a package that makes models) and its settings, out
comes a `Policy`: the model on its device with the `Encoder` that turns examples into its tensors. Start at
`policy.py`.
"""
