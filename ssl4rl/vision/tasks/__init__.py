"""The picture tasks, a module each. In go pictures of a source, out come examples; what they share lies a folder up."""
