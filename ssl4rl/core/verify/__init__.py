"""Verifiers: each owns both the sentence that asks for a form of answer and the parser of the reply."""

from ssl4rl.core.verify.base import Verifier
from ssl4rl.core.verify.choice import Choice, FreeText, Text
from ssl4rl.core.verify.graphs import EdgeSet, NodeSet, Path
from ssl4rl.core.verify.lists import Box, Permutation
from ssl4rl.core.verify.numbers import Angle, Integer
from ssl4rl.core.verify.quantity import Number
from ssl4rl.core.verify.several import Several
from ssl4rl.core.verify.tags import STYLES, Style, tagged

__all__ = [
    "STYLES",
    "Angle",
    "Box",
    "Choice",
    "EdgeSet",
    "FreeText",
    "Integer",
    "NodeSet",
    "Number",
    "Path",
    "Permutation",
    "Several",
    "Style",
    "Text",
    "Verifier",
    "tagged",
]
