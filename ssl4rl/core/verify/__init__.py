"""Verifiers: each owns both the sentence that asks for a form of answer and the parser of the reply."""

from ssl4rl.core.verify.base import STYLES, Style, Verifier, tagged
from ssl4rl.core.verify.graphs import EdgeSet, NodeSet, Path
from ssl4rl.core.verify.several import Several
from ssl4rl.core.verify.values import Angle, Box, Choice, Integer, Permutation, Text

__all__ = [
    "STYLES",
    "Angle",
    "Box",
    "Choice",
    "EdgeSet",
    "Integer",
    "NodeSet",
    "Path",
    "Permutation",
    "Several",
    "Style",
    "Text",
    "Verifier",
    "tagged",
]
