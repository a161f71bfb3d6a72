"""Where graphs come from: a module for each family of formats. `ssl4rl.graph.SOURCES` names their openers by scheme."""
