"""A run's settings. In go a path, a name or plain values, with overrides, out comes a typed `Recipe`. Start at
`recipe.py`, and `sections.py`, the keys with their types and ranges; `files.py` finds and reads, `plain_yaml.py` bounds
what YAML may say, `stages.py` makes of a recipe with stages one for each.
"""
