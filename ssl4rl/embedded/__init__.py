"""The small models and data that need no download."""
