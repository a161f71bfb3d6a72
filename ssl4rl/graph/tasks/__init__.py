"""The graph tasks, a module each. In go graphs of a source, out come examples; what they share lies one folder up."""
