"""A case of every verifier: an example, the answer as asked for, what it is read as, other spellings, other answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ssl4rl import Angle, Box, Choice, EdgeSet, Example, Integer, NodeSet, Path, Permutation, Text, Verifier
from ssl4rl.core.verify import Several
from ssl4rl.core.verify.several import join

PEOPLE = {"nodes": ["Ann", "Bo", "Cy", "Di"], "edges": [["Ann", "Bo"], ["Bo", "Cy"], ["Ann", "Di"]], "paths": 1}
NUMBERED = {"nodes": ["0", "3", "7", "12"], "edges": [["0", "3"], ["3", "7"], ["7", "12"]], "paths": 1}
ROBOTS = Example(("Which?\nA: fonts\nB: robots\nC: top left\nD: 3-7",), "B")


@dataclass(frozen=True)
class Case:
    """`text` is the answer as asked for, `read` what it is read as, `wrong` other answers, `also` other spellings."""

    verifier: Verifier
    example: Example
    text: str
    read: Any
    wrong: tuple[str, ...]
    also: tuple[str, ...] = ()


CASES: Mapping[str, Case] = {
    "letter": Case(
        Choice("ABCD"), ROBOTS, "B", "B", ("A", "C", "D"),
        ("b", "(B)", "B)", "[B]", "Ｂ", "Option B", "option b.", "(B) robots", "B. robots", "B: robots", "B) robots",
         "B - robots", "B – robots", "**B**: robots", "**B. robots**", "B: **robots**", "B. Robots.", "B\nrobots",
         'B: "robots"', "Option B: robots", "The correct option is B", r"$\boxed{\text{B}}$",
         r"\boxed{B. \text{robots}}",
         "choice B", "option (B)", "letter B", "Answer B", "The answer is B. robots", "B!"),
    ),
    "letter with words": Case(
        Choice("ABCD"), Example((ROBOTS.prompt[0],), "C"), "C", "C", ("A", "B"), ("C. top left", "C: Top-left",
        "c) top left."),
    ),
    "letter with an edge": Case(
        Choice("ABCD"), Example((ROBOTS.prompt[0],), "D"), "D", "D", ("A", "B"), ("D: 3-7", "D. 3–7", "(D) 3-7",
        "D: `3-7`"),
    ),
    "number of an option": Case(
        Choice("1234"), Example(("Which?\n1: A-B\n2: B-C\n3: C-D\n4: D-A",), "2"), "2", "2", ("1", "3", "4"),
        ("2.", "(2)", "Option 2", "2: B-C", "2. B–C", "number 2", "２"),
    ),
    "quarter": Case(
        Choice(("top left", "top right", "bottom left", "bottom right")), Example((), "top right"), "top right",
        "top right", ("top left", "bottom right"),
        ("Top right", "Top-right", "TOP_RIGHT", "top right corner", "the top right corner", "Top-right corner.",
         "in the top right", "top right quadrant", "top right quarter", r"\text{top right}", "top\nright",
         r"\boxed{\text{top right}}", "The answer is the top right corner."),
    ),
    "same": Case(Choice(("same", "different")), Example((), "same"), "same", "same", ("different",), ("Same", "SAME.")),
    "integer": Case(
        Integer(0, 12), Example((), 4), "4", 4, ("5", "0", "12"),
        ("04", "+4", "4.0", "４", "٤", "4 hops", "4 hops.", "4 edges", "4 triangles", r"4\text{ hops}", "4 steps",
         "**4** hops", "4 links", "The number is 4", "cell 4", "- 4", "4 hop(s)", "Distance: 4", "4 nodes",
         "4\u00a0hops", "4 hops away", "4hops",
         "The number of hops is 4"),
    ),
    "triangles": Case(Integer(0, 99), Example((), 5), "5", 5, ("15", "50"), ("5 triangles", "5 Triangles.",
    "`5` triangles")),
    "angle": Case(
        Angle(90), Example((), 90), "90", 90, ("0", "180", "270"),
        ("90°", "90 °", "90º", "90˚", r"90^\circ", r"90^{\circ}", r"$90^\circ$", r"\boxed{90^\circ}",
        r"$\boxed{90^{\circ}}$",
         "90 degrees", "90 deg", "90deg.", "90.0", "９０", "-270", "\u2212270", "\u2013270", "\u2212270°", "450",
         "270 clockwise",
         "270° CW", "90 degrees, counter-clockwise", "90° counterclockwise", "90 degrees (counter-clockwise)",
         "90° CCW",
         "90 degrees anti-clockwise", "90 degrees counter\u2011clockwise", r"90\text{ degrees}", "90&deg;",
         "Angle: 90°",
         "**90°**", "counter-clockwise 90 degrees", "90 degrees counterclockwise rotation", "90\u200b", "9\u200d0",
         r"90\degree"),
    ),
    "fine angle": Case(
        Angle(15, partial_deg=90), Example((), 345), "345", 345, ("300", "15"),
        ("-15", "\u221215", "15 clockwise", "15° cw", "345 degrees, counter-clockwise", "\u221215°"),
    ),
    "order": Case(
        Permutation(4), Example((), [3, 1, 2, 4]), "3,1,2,4", [3, 1, 2, 4], ("2,4,1,3", "2,3,4,1", "4,2,3,1"),
        ("3, 1, 2, 4", "3 1 2 4", "[3, 1, 2, 4]", "(3,1,2,4).", "3124", "3->1->2->4", "3 → 1 → 2 → 4", "3、1、2、4",
         "３，１，２，４", "[[3,1],[2,4]]", "[[3, 1],\n [2, 4]]", "3 1\n2 4", "3;1;2;4", "3-1-2-4", "3 – 1 – 2 – 4",
         "3\n1\n2\n4", "- 3\n- 1\n- 2\n- 4", "1. 3\n2. 1\n3. 2\n4. 4", "3, 1, 2 and 4", "3, 1, 2, and 4",
         r"3 \to 1 \to 2 \to 4", "3|1|2|4", "Order: 3,1,2,4", r"\[3,1,2,4\]", '{"order": [3, 1, 2, 4]}',
         "3 &gt; 1 &gt; 2 &gt; 4"),
    ),
    "long order": Case(
        Permutation(12), Example((), [*range(12, 0, -1)]), "12,11,10,9,8,7,6,5,4,3,2,1", [*range(12, 0, -1)],
        ("11,12,9,10,7,8,5,6,3,4,1,2",), ("12 11 10 9 8 7 6 5 4 3 2 1", "[[12,11,10],[9,8,7],[6,5,4],[3,2,1]]"),
    ),
    "box": Case(
        Box(), Example((), [10, 20, 60, 70]), "10,20,60,70", [10, 20, 60, 70], ("70,75,90,95", "0,0,5,5"),
        ("[10, 20, 60, 70]", "10%, 20%, 60%, 70%", "10.0, 20.0, 60.0, 70.0", "10 20 60 70", "[[10,20],[60,70]]",
         "(10,20),(60,70)", "(10, 20), (60, 70)", "(10,20) (60,70)", '{"bbox_2d": [10, 20, 60, 70]}',
         '[{"bbox_2d": [10, 20, 60, 70], "label": "piece"}]', '```json\n[{"bbox_2d": [10, 20, 60, 70]}]\n```',
         '{"bbox_2d": [10.0, 20.0, 60.0, 70.0]}', "<|box_start|>(10,20),(60,70)<|box_end|>", "10;20;60;70",
         "１０，２０，６０，７０",
         "x0=10, y0=20, x1=60, y1=70", '{"x0": 10, "y0": 20, "x1": 60, "y1": 70}', "10、20、60、70",
         r"10\%, 20\%, 60\%, 70\%",
         "(10, 20) - (60, 70)", '{"bbox": [[10, 20], [60, 70]]}', "left: 10, top: 20, right: 60, bottom: 70",
         "Box: 10,20,60,70"),
    ),
    "text": Case(
        Text(), Example((), "Graph theory"), "Graph theory", "Graph theory", ("Set theory", "Graphs"),
        ("Graph theory.", "Graph theory。"),
    ),
    "candidates": Case(
        Text(), Example((), "cat", meta={"candidates": ["cat", "dog", "cow"]}), "cat", "cat", ("dog", "cow"),
        ("Cat.", "CAT", "cat!"),
    ),
    "nodes": Case(
        NodeSet(), Example((), ["Ann", "Bo"], meta=PEOPLE), "Ann, Bo", ["Ann", "Bo"], ("Cy, Di",),
        ("Bo, Ann", "ann, bo", "Ann and Bo", "Ann & Bo", "- Ann\n- Bo", "* Ann\n* Bo", "• Ann\n• Bo", "1. Ann\n2. Bo",
         "Ann\nBo", "**Ann**, **Bo**", "`Ann`, `Bo`", "**Ann** and **Bo**", '["Ann", "Bo"]', "{Ann, Bo}", "Ann; Bo",
         "Ann、Bo",
         "“Ann”, “Bo”", "「Ann」、「Bo」", "Nodes: Ann, Bo", "node Ann, node Bo", r"\{\text{Ann}, \text{Bo}\}",
         "- **Ann**\n- **Bo**",
         "Ann, and Bo", "_Ann_, _Bo_", "'Ann', 'Bo'", "- `Ann`\n- `Bo`", "Ａｎｎ， Ｂｏ", "Ann,\u00a0Bo",
         '{"nodes": ["Ann", "Bo"]}',
         "the nodes Ann and Bo", "Ann,Bo,"),
    ),
    "numbered nodes": Case(
        NodeSet(), Example((), ["12", "3", "7"], meta=NUMBERED), "3, 7, 12", ["12", "3", "7"], ("0",),
        ("3 and 7 and 12", "3, 7 and 12", "3, 7, and 12", "- 3\n- 7\n- 12", "1. 3\n2. 7\n3. 12", "[3, 7, 12]",
         "３、７、１２",
         r"\{3, 7, 12\}", "nodes 3, 7, 12", "node 3, node 7, node 12"),
    ),
    "counted nodes": Case(
        NodeSet(), Example((), ["Ann", "Bo"], meta=PEOPLE | {"count": 2}), "Ann, Bo", ["Ann", "Bo"], ("Cy, Di",),
        ("Ann and Bo", "- Ann\n- Bo"),
    ),
    "edges": Case(
        EdgeSet(), Example((), [["Ann", "Bo"], ["Bo", "Cy"]], meta=PEOPLE), "Ann-Bo, Bo-Cy", [["Ann", "Bo"], ["Bo",
        "Cy"]],
        ("Ann-Di", "Cy-Di"),
        ("Bo-Ann, Cy-Bo", "Ann–Bo, Bo–Cy", "Ann — Bo, Bo — Cy", "Ann - Bo\nBo - Cy", "(Ann, Bo), (Bo, Cy)",
        "[(Ann, Bo), (Bo, Cy)]",
         '[["Ann", "Bo"], ["Bo", "Cy"]]', "{Ann, Bo}, {Bo, Cy}", "- Ann-Bo\n- Bo-Cy", "* Ann–Bo\n* Bo–Cy",
         "1. Ann-Bo\n2. Bo-Cy",
         "**Ann-Bo**, **Bo-Cy**", "**Ann**-**Bo**, **Bo**-**Cy**", "`Ann`-`Bo`, `Bo`-`Cy`", "Ann-Bo and Bo-Cy",
         "Ann-Bo; Bo-Cy",
         "Ann<->Bo, Bo<->Cy", "Ann ↔ Bo, Bo ↔ Cy", "Ann -- Bo, Bo -- Cy", "Ann and Bo, Bo and Cy",
         "(Ann, Bo) and (Bo, Cy)",
         "(Ann-Bo), (Bo-Cy)", "Edges: Ann-Bo, Bo-Cy", r"(\text{Ann}, \text{Bo}), (\text{Bo}, \text{Cy})",
         "Ann→Bo, Bo→Cy",
         "(Ann, Bo)\n(Bo, Cy)", "- (Ann, Bo)\n- (Bo, Cy)", "Ann‑Bo, Bo‑Cy", '{"edges": [["Ann", "Bo"], ["Bo", "Cy"]]}',
         "Ann to Bo, Bo to Cy", "“Ann”-“Bo”, “Bo”-“Cy”", "Ann-Bo、Bo-Cy"),
    ),
    "an edge": Case(
        EdgeSet(), Example((), [["3", "7"]], meta=NUMBERED), "3-7", [["3", "7"]], ("0-12", "7-12"),
        ("7-3", "3–7", "3 — 7", "(3, 7)", "3 and 7", "edge 3-7", "the edge 3-7", "3 to 7", "node 3 - node 7", "{3, 7}",
        "[3, 7]",
         "between 3 and 7", "3--7", "3 \u2212 7", "**3**–**7**", "3‐7", "The edge is 3-7"),
    ),
    "directed edges": Case(
        EdgeSet(directed=True), Example((), [["Bo", "Ann"]], meta=PEOPLE), "Bo->Ann", [["Bo", "Ann"]], ("Ann->Bo",
        "Cy->Di"),
        ("Bo -> Ann", "Bo → Ann", "(Bo, Ann)", "Bo-&gt;Ann", r"Bo \to Ann", r"$Bo \rightarrow Ann$", "Ann <- Bo",
        "Ann ← Bo",
         "Bo => Ann", "Bo ⇒ Ann", "**Bo** → **Ann**", "- Bo -> Ann", "from Bo to Ann", "Bo --> Ann", "Bo ➔ Ann",
         "Bo to Ann"),
    ),
    "path": Case(
        Path(), Example((), ["Ann", "Bo", "Cy"], meta=PEOPLE), "Ann, Bo, Cy", ["Ann", "Bo", "Cy"], ("Ann, Di, Cy",
        "Cy, Bo, Ann"),
        ("Ann->Bo->Cy", "Ann → Bo → Cy", "Ann - Bo - Cy", "Ann – Bo – Cy", "Ann—Bo—Cy", "Ann-Bo-Cy", "[Ann, Bo, Cy]",
         "- Ann\n- Bo\n- Cy", "1. Ann\n2. Bo\n3. Cy", "Ann\nBo\nCy", "**Ann** → **Bo** → **Cy**", "Ann, Bo and Cy",
         "Ann => Bo => Cy",
         r"Ann \to Bo \to Cy", r"$\text{Ann} \rightarrow \text{Bo} \rightarrow \text{Cy}$", "Ann -&gt; Bo -&gt; Cy",
         "Path: Ann, Bo, Cy",
         "The path is Ann → Bo → Cy.", "Ann > Bo > Cy", "`Ann` -> `Bo` -> `Cy`", "“Ann”, “Bo”, “Cy”", "Ann、Bo、Cy",
         "Ann, then Bo, then Cy",
         "Ann --> Bo --> Cy", "Ann to Bo to Cy", "node Ann, node Bo, node Cy", '["Ann", "Bo", "Cy"]', "Ann ⟶ Bo ⟶ Cy"),
    ),
    "three angles": Case(
        Several(Angle(90), 3), join([Example((), angle) for angle in (270, 0, 90)]), "90;0;270", [90, 0, 270],
        ("90;0;180", "0;0;0"),
        ("90; 0; 270", "90°; 0°; -90°", "90\n0\n270", "90 degrees\n0 degrees\n270 degrees", "- 90\n- 0\n- 270",
        "90; 0; 270;", "９０；０；２７０",
         r"90^\circ; 0^\circ; 270^\circ", "**90**; **0**; **270**", "[90; 0; 270]", "90; 0; \u221290",
         "The answers are 90; 0; 270"),
    ),
    "two letters": Case(
        Several(Choice("AB"), 2), join([Example(("Which?\nA: cats\nB: dogs",), answer) for answer in "AB"]), "B;A",
        ["B", "A"],
        ("A;A", "B;B"), ("b; a", "B\nA", "(B); (A)", "**B**; **A**", "Option B; Option A", "- B\n- A",
        r"\boxed{B}; \boxed{A}"),
    ),
    "two lists": Case(
        Several(NodeSet(), 2), join([Example((), nodes, meta=PEOPLE) for nodes in (["Bo", "Cy"], ["Ann"])]),
        "Ann;Bo, Cy",
        [["Ann"], ["Bo", "Cy"]], ("Bo;Ann, Cy",), ("Ann; Bo and Cy", "- Ann\n- Bo, Cy", "Ann\nCy, Bo",
        "`Ann`; `Bo`, `Cy`"),
    ),
}  # fmt: skip

UNREAD: Mapping[tuple[str, str], str] = {
    ("three angles", "1. 90\n2. 0\n3. 270"): "the last question comes first, so 1 might be the place or the question",
    ("order", "1->3, 2->1, 3->2, 4->4"): "from place to piece, or from piece to place",
    ("order", "tile 3, tile 1, tile 2, tile 4"): "a word at every number; not met in public reports",
    ("angle", "- 90"): "a bullet, or minus ninety",
    ("angle", "ninety degrees"): "number words are not read",
    ("integer", "four"): "number words are not read",
    ("letter", "robots"): "the option's text alone; a number or a letter might stand for another option",
    ("nodes", "Ann Bo"): "names may hold blanks",
    ("edges", "Ann, Bo\nBo, Cy"): "four names might be two nodes a line or pairs",
    ("path", "Cy <- Bo <- Ann"): "arrows to the left are read in edges only",
    ("box", "10-60, 20-70"): "from-to of x, then of y; or two corners",
}
"""(case, text): why it is not read. They are among the right replies all the same, as unread."""
