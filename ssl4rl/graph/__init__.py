"""Graphs as text: tasks, the sources they draw from, and pictures for people. Importing this imports none of them."""

TASKS: dict[str, str] = {
    "masked_edge": "ssl4rl.graph.tasks.masked_edge:MaskedEdge",
    "masked_node": "ssl4rl.graph.tasks.masked_node:MaskedNode",
    "neighbours": "ssl4rl.graph.tasks.neighbours:Neighbours",
    "subgraph_contrast": "ssl4rl.graph.tasks.subgraph_contrast:SubgraphContrast",
    "hops": "ssl4rl.graph.tasks.hops:Hops",
    "perturbed_edge": "ssl4rl.graph.tasks.perturbed_edge:PerturbedEdge",
    "motifs": "ssl4rl.graph.tasks.motifs:Motifs",
    "community": "ssl4rl.graph.tasks.community:Community",
    "centrality": "ssl4rl.graph.tasks.centrality:Centrality",
    "context": "ssl4rl.graph.tasks.context:Context",
    "node_classification": "ssl4rl.graph.tasks.node_classification:NodeClassification",
    "link_prediction": "ssl4rl.graph.tasks.link_prediction:LinkPrediction",
}

SOURCES: dict[str, str] = {
    "": "ssl4rl.graph.sources.paths:open_path",
    "nx": "ssl4rl.graph.sources.built_in:open_nx",
    "graphml": "ssl4rl.graph.sources.text.xml_files:open_graphml",
    "gml": "ssl4rl.graph.sources.text.gml:open_gml",
    "gexf": "ssl4rl.graph.sources.text.xml_files:open_gexf",
    "edgelist": "ssl4rl.graph.sources.text.words:open_edgelist",
    "adjlist": "ssl4rl.graph.sources.text.words:open_adjlist",
    "mtx": "ssl4rl.graph.sources.text.words:open_mtx",
    "edges": "ssl4rl.graph.sources.text.table:open_edges",
    "npz": "ssl4rl.graph.sources.npz:open_npz",
    "pyg": "ssl4rl.graph.sources.pyg.pyg:open_pyg",
    "er": "ssl4rl.graph.sources.synthetic:open_er",
    "sbm": "ssl4rl.graph.sources.synthetic:open_sbm",
    "ba": "ssl4rl.graph.sources.synthetic:open_ba",
    "ws": "ssl4rl.graph.sources.synthetic:open_ws",
    "grid": "ssl4rl.graph.sources.synthetic:open_grid",
    "tree": "ssl4rl.graph.sources.synthetic:open_tree",
    "debian": "ssl4rl.graph.sources.debian:open_debian",
}

SHOW: dict[str, str] = {"drawing": "ssl4rl.graph.draw:svg"}
