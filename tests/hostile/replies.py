"""Replies as models write them: right ones that must be read, and ones that must never be paid.

    python -m tests.hostile.replies [--unread] [--json FILE]

prints the counts: exceptions, the share of right replies that are read, and what was paid wrongly. Both lists are made
here, by crossing a case of every verifier (with the expected reading written out) with what stands round an answer
between the tags (`INSIDE`), with what stands round the tags (`ROUND`), and with what turns a right answer into none
(`SPOILED`, `SPOILED_REPLIES`).

Right replies that are left unread on purpose, `UNREAD` with the reason for each, count as unread.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
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
    """`text` is the answer as asked for, `read` what it is read as; `also` are other spellings; `wrong` other answers."""

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
         'B: "robots"', "Option B: robots", "The correct option is B", r"$\boxed{\text{B}}$", r"\boxed{B. \text{robots}}",
         "choice B", "letter B", "Answer B", "The answer is B. robots", "B!"),
    ),
    "letter with words": Case(
        Choice("ABCD"), Example((ROBOTS.prompt[0],), "C"), "C", "C", ("A", "B"), ("C. top left", "C: Top-left", "c) top left."),
    ),
    "letter with an edge": Case(
        Choice("ABCD"), Example((ROBOTS.prompt[0],), "D"), "D", "D", ("A", "B"), ("D: 3-7", "D. 3–7", "(D) 3-7", "D: `3-7`"),
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
         "**4** hops", "4 links", "The number is 4", "cell 4", "- 4", "4 hop(s)", "Distance: 4", "4 nodes", "4\u00a0hops"),
    ),
    "triangles": Case(Integer(0, 99), Example((), 5), "5", 5, ("15", "50"), ("5 triangles", "5 Triangles.", "`5` triangles")),
    "angle": Case(
        Angle(90), Example((), 90), "90", 90, ("0", "180", "270"),
        ("90°", "90 °", "90º", "90˚", r"90^\circ", r"90^{\circ}", r"$90^\circ$", r"\boxed{90^\circ}", r"$\boxed{90^{\circ}}$",
         "90 degrees", "90 deg", "90deg.", "90.0", "９０", "-270", "\u2212270", "\u2013270", "\u2212270°", "450", "270 clockwise",
         "270° CW", "90 degrees, counter-clockwise", "90° counterclockwise", "90 degrees (counter-clockwise)", "90° CCW",
         "90 degrees anti-clockwise", "90 degrees counter\u2011clockwise", r"90\text{ degrees}", "90&deg;", "Angle: 90°",
         "**90°**", "counter-clockwise 90 degrees", "90 degrees counterclockwise rotation", "90\u200b", "9\u200d0", r"90\degree"),
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
         r"3 \to 1 \to 2 \to 4", "3|1|2|4", "Order: 3,1,2,4", r"\[3,1,2,4\]", '{"order": [3, 1, 2, 4]}', "3 &gt; 1 &gt; 2 &gt; 4"),
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
         '{"bbox_2d": [10.0, 20.0, 60.0, 70.0]}', "<|box_start|>(10,20),(60,70)<|box_end|>", "10;20;60;70", "１０，２０，６０，７０",
         "x0=10, y0=20, x1=60, y1=70", '{"x0": 10, "y0": 20, "x1": 60, "y1": 70}', "10、20、60、70", r"10\%, 20\%, 60\%, 70\%",
         "(10, 20) - (60, 70)", '{"bbox": [[10, 20], [60, 70]]}', "left: 10, top: 20, right: 60, bottom: 70", "Box: 10,20,60,70"),
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
         "Ann\nBo", "**Ann**, **Bo**", "`Ann`, `Bo`", "**Ann** and **Bo**", '["Ann", "Bo"]', "{Ann, Bo}", "Ann; Bo", "Ann、Bo",
         "“Ann”, “Bo”", "「Ann」、「Bo」", "Nodes: Ann, Bo", "node Ann, node Bo", r"\{\text{Ann}, \text{Bo}\}", "- **Ann**\n- **Bo**",
         "Ann, and Bo", "_Ann_, _Bo_", "'Ann', 'Bo'", "- `Ann`\n- `Bo`", "Ａｎｎ， Ｂｏ", "Ann,\u00a0Bo", '{"nodes": ["Ann", "Bo"]}',
         "the nodes Ann and Bo", "Ann,Bo,"),
    ),
    "numbered nodes": Case(
        NodeSet(), Example((), ["12", "3", "7"], meta=NUMBERED), "3, 7, 12", ["12", "3", "7"], ("0",),
        ("3 and 7 and 12", "3, 7 and 12", "3, 7, and 12", "- 3\n- 7\n- 12", "1. 3\n2. 7\n3. 12", "[3, 7, 12]", "３、７、１２",
         r"\{3, 7, 12\}", "nodes 3, 7, 12", "node 3, node 7, node 12"),
    ),
    "counted nodes": Case(
        NodeSet(), Example((), ["Ann", "Bo"], meta=PEOPLE | {"count": 2}), "Ann, Bo", ["Ann", "Bo"], ("Cy, Di",),
        ("Ann and Bo", "- Ann\n- Bo"),
    ),
    "edges": Case(
        EdgeSet(), Example((), [["Ann", "Bo"], ["Bo", "Cy"]], meta=PEOPLE), "Ann-Bo, Bo-Cy", [["Ann", "Bo"], ["Bo", "Cy"]],
        ("Ann-Di", "Cy-Di"),
        ("Bo-Ann, Cy-Bo", "Ann–Bo, Bo–Cy", "Ann — Bo, Bo — Cy", "Ann - Bo\nBo - Cy", "(Ann, Bo), (Bo, Cy)", "[(Ann, Bo), (Bo, Cy)]",
         '[["Ann", "Bo"], ["Bo", "Cy"]]', "{Ann, Bo}, {Bo, Cy}", "- Ann-Bo\n- Bo-Cy", "* Ann–Bo\n* Bo–Cy", "1. Ann-Bo\n2. Bo-Cy",
         "**Ann-Bo**, **Bo-Cy**", "**Ann**-**Bo**, **Bo**-**Cy**", "`Ann`-`Bo`, `Bo`-`Cy`", "Ann-Bo and Bo-Cy", "Ann-Bo; Bo-Cy",
         "Ann<->Bo, Bo<->Cy", "Ann ↔ Bo, Bo ↔ Cy", "Ann -- Bo, Bo -- Cy", "Ann and Bo, Bo and Cy", "(Ann, Bo) and (Bo, Cy)",
         "(Ann-Bo), (Bo-Cy)", "Edges: Ann-Bo, Bo-Cy", r"(\text{Ann}, \text{Bo}), (\text{Bo}, \text{Cy})", "Ann→Bo, Bo→Cy",
         "(Ann, Bo)\n(Bo, Cy)", "- (Ann, Bo)\n- (Bo, Cy)", "Ann‑Bo, Bo‑Cy", '{"edges": [["Ann", "Bo"], ["Bo", "Cy"]]}',
         "Ann to Bo, Bo to Cy", "“Ann”-“Bo”, “Bo”-“Cy”", "Ann-Bo、Bo-Cy"),
    ),
    "an edge": Case(
        EdgeSet(), Example((), [["3", "7"]], meta=NUMBERED), "3-7", [["3", "7"]], ("0-12", "7-12"),
        ("7-3", "3–7", "3 — 7", "(3, 7)", "3 and 7", "edge 3-7", "the edge 3-7", "3 to 7", "node 3 - node 7", "{3, 7}", "[3, 7]",
         "between 3 and 7", "3--7", "3 \u2212 7", "**3**–**7**", "3‐7", "The edge is 3-7"),
    ),
    "directed edges": Case(
        EdgeSet(directed=True), Example((), [["Bo", "Ann"]], meta=PEOPLE), "Bo->Ann", [["Bo", "Ann"]], ("Ann->Bo", "Cy->Di"),
        ("Bo -> Ann", "Bo → Ann", "(Bo, Ann)", "Bo-&gt;Ann", r"Bo \to Ann", r"$Bo \rightarrow Ann$", "Ann <- Bo", "Ann ← Bo",
         "Bo => Ann", "Bo ⇒ Ann", "**Bo** → **Ann**", "- Bo -> Ann", "from Bo to Ann", "Bo --> Ann", "Bo ➔ Ann", "Bo to Ann"),
    ),
    "path": Case(
        Path(), Example((), ["Ann", "Bo", "Cy"], meta=PEOPLE), "Ann, Bo, Cy", ["Ann", "Bo", "Cy"], ("Ann, Di, Cy", "Cy, Bo, Ann"),
        ("Ann->Bo->Cy", "Ann → Bo → Cy", "Ann - Bo - Cy", "Ann – Bo – Cy", "Ann—Bo—Cy", "Ann-Bo-Cy", "[Ann, Bo, Cy]",
         "- Ann\n- Bo\n- Cy", "1. Ann\n2. Bo\n3. Cy", "Ann\nBo\nCy", "**Ann** → **Bo** → **Cy**", "Ann, Bo and Cy", "Ann => Bo => Cy",
         r"Ann \to Bo \to Cy", r"$\text{Ann} \rightarrow \text{Bo} \rightarrow \text{Cy}$", "Ann -&gt; Bo -&gt; Cy", "Path: Ann, Bo, Cy",
         "The path is Ann → Bo → Cy.", "Ann > Bo > Cy", "`Ann` -> `Bo` -> `Cy`", "“Ann”, “Bo”, “Cy”", "Ann、Bo、Cy", "Ann, then Bo, then Cy",
         "Ann --> Bo --> Cy", "Ann to Bo to Cy", "node Ann, node Bo, node Cy", '["Ann", "Bo", "Cy"]', "Ann ⟶ Bo ⟶ Cy"),
    ),
    "three angles": Case(
        Several(Angle(90), 3), join([Example((), angle) for angle in (270, 0, 90)]), "90;0;270", [90, 0, 270],
        ("90;0;180", "0;0;0"),
        ("90; 0; 270", "90°; 0°; -90°", "90\n0\n270", "90 degrees\n0 degrees\n270 degrees", "- 90\n- 0\n- 270", "90; 0; 270;", "９０；０；２７０",
         r"90^\circ; 0^\circ; 270^\circ", "**90**; **0**; **270**", "[90; 0; 270]", "90; 0; \u221290", "The answers are 90; 0; 270"),
    ),
    "two letters": Case(
        Several(Choice("AB"), 2), join([Example(("Which?\nA: cats\nB: dogs",), answer) for answer in "AB"]), "B;A", ["B", "A"],
        ("A;A", "B;B"), ("b; a", "B\nA", "(B); (A)", "**B**; **A**", "Option B; Option A", "- B\n- A", r"\boxed{B}; \boxed{A}"),
    ),
    "two lists": Case(
        Several(NodeSet(), 2), join([Example((), nodes, meta=PEOPLE) for nodes in (["Bo", "Cy"], ["Ann"])]), "Ann;Bo, Cy",
        [["Ann"], ["Bo", "Cy"]], ("Bo;Ann, Cy",), ("Ann; Bo and Cy", "- Ann\n- Bo, Cy", "Ann\nCy, Bo", "`Ann`; `Bo`, `Cy`"),
    ),
}  # fmt: skip

INSIDE: Mapping[str, str] = {
    "as asked": "%", "bold": "**%**", "bold by underscores": "__%__", "italic": "*%*", "italic by underscores": "_%_",
    "code": "`%`", "fence": "```\n%\n```", "fence with its language": "```text\n%\n```", "fence on one line": "```%```",
    "double quotes": '"%"', "single quotes": "'%'", "curly quotes": "“%”", "single curly quotes": "‘%’", "low quotes": "„%“",
    "corner quotes": "「%」", "white corner quotes": "『%』", "angle quotes": "«%»", "round": "(%)", "square": "[%]",
    "curly": "{%}", "lenticular": "【%】", "boxed": r"\boxed{%}", "boxed in dollars": r"$\boxed{%}$",
    "boxed in double dollars": r"$$\boxed{%}$$", "dollars": "$%$", "TeX round": r"\(%\)", "TeX square": r"\[%\]",
    "TeX round and boxed": r"\(\boxed{%}\)", "text": r"\text{%}", "textbf": r"\textbf{%}", "mathrm": r"\mathrm{%}",
    "boxed text": r"\boxed{\text{%}}", "boxed with a stop": r"\boxed{%}.", "answer": "Answer: %", "ANSWER": "ANSWER: %",
    "answer on a line": "Answer:\n%", "bold answer": "**Answer:** %", "bold answer, colon out": "**Answer**: %",
    "all bold answer": "**Answer: %**", "final answer": "Final answer: %", "the answer is": "The answer is %",
    "the answer is, stop": "The answer is %.", "the answer is, colon": "The answer is: %", "so the answer is": "So the answer is %",
    "the final answer is": "The final answer is %.", "the correct answer is": "The correct answer is **%**.",
    "the answer is, boxed": r"The final answer is $\boxed{%}$.", "answer, equals": "Answer = %", "fullwidth colon": "Answer：%",
    "Chinese": "答案：%。", "star bullet": "* %", "round bullet": "• %", "heading": "## %", "stop": "%.", "ideographic stop": "%。",
    "halfwidth stop": "%｡", "fullwidth stop": "%．", "danda": "%।", "Arabic stop": "%۔", "Ethiopic stop": "%።", "Armenian stop": "%։",
    "blanks": "  % \n", "lines": "\n\n%\n", "tab": "\t%", "no-break space": "\u00a0%\u00a0", "ideographic space": "\u3000%",
    "narrow space": "\u202f%\u2009", "zero width": "\u200b%\u200b", "byte order mark": "\ufeff%", "word joiner": "%\u2060",
    "left-to-right mark": "\u200e%", "entity blanks": "&nbsp;%&nbsp;", "HTML bold": "<b>%</b>", "HTML strong": "<strong>%</strong>",
    "bold in quotes": '"**%**"', "quotes in bold": '**"%"**', "bold with a stop": "**%**.", "bold with its stop": "**%.**",
    "code in bold": "**`%`**", "fence with bold": "```\n**%**\n```", "my answer is": "My answer is: %",
}  # fmt: skip

MARKS = (
    "<|im_end|>", "<|eot_id|>", "</s>", "<end_of_turn>", "<|endoftext|>", "<|end|>", "<eos>", "<|end_of_text|>", "<end_of_utterance>",
    "<｜end▁of▁sentence｜>", "<|eom_id|>", "<|return|>", "<|im_end|>\n", " <|im_end|><|endoftext|><|endoftext|>", "<pad><pad><pad>",
)  # fmt: skip
ROUND: Mapping[str, str] = {
    "think": "<think>Let me see.</think><answer>%</answer>", "answer": "<answer>%</answer>",
    "lines": "<think>\nLet me see.\n</think>\n\n<answer>\n%\n</answer>\n", "capitals": "<ANSWER>%</ANSWER>", "capital": "<Answer>%</Answer>",
    "mixed": "<Answer>%</ANSWER>", "blanks in the tag": "< answer >%</ answer >", "blank at its end": "<answer >%</answer >",
    "line in the tag": "<answer\n>%</answer>", "attribute": '<answer type="final">%</answer>', "id": "<answer id=1>%</answer>",
    "left open": "<answer>%", "left open after a thought": "<think>So.</think><answer>%", "left open, marked": "<answer>%<|im_end|>",
    "left open, line": "<answer>%\n", "empty thought behind": "<answer>%</answer><think></think>",
    "empty thought and a mark behind": "<answer>%</answer>\n<think>\n\n</think>\n<|im_end|>",
    "thought in capitals": "<THINK>Let me see.</THINK><answer>%</answer>", "two thoughts": "<think>a</think><think>b</think><answer>%</answer>",
    "entities": "&lt;answer&gt;%&lt;/answer&gt;", "entities throughout": "&lt;think&gt;x&lt;/think&gt;&lt;answer&gt;%&lt;/answer&gt;",
    "fullwidth brackets": "＜answer＞%＜/answer＞", "words before": "I looked at it closely. <answer>%</answer>",
    "words behind": "<think>x</think><answer>%</answer> That is my answer.", "twice": "<answer>%</answer> and again <answer>%</answer>",
    "the tag is named in the thought": "<think>I put it in <answer> tags.</think><answer>%</answer>",
    "another in the thought": "<think>Maybe <answer>nothing</answer>? No.</think><answer>%</answer>", "in a fence": "```\n<answer>%</answer>\n```",
    "in bold": "**<answer>%</answer>**", "opened by the template": "<think>\nx</think><answer>%</answer>", "thought opened unseen": "x</think><answer>%</answer>",
    "thinking": "<thinking>x <answer>nothing</answer></thinking><answer>%</answer>", "role before": "assistant\n<answer>%</answer>",
    **{f"mark {mark!r}": f"<think>x</think><answer>%</answer>{mark}" for mark in MARKS},
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

# %: the right answer, @: a wrong one
SPOILED: Mapping[str, str] = {
    "or": "% or @", "or, the other first": "@ or %", "comma or": "%, or @", "slash": "% / @", "bar": "% | @", "brackets": "% (@)",
    "brackets with or": "% (or @)", "lines": "%\n\n@ instead", "vs": "% vs @", "not": "not %", "NOT": "NOT %", "not, bold": "**not** %",
    "is not": "The answer is not %", "answer, not": "Answer: not %", "is not, other": "@, not %", "anything but": "anything but %",
    "neither": "neither % nor @", "never": "never %", "no": "no %", "isn't": "isn't %", "struck out": "~~%~~", "struck out, other": "~~%~~ @",
    "cancelled": r"\cancel{%}", "neg": r"\neg %", "neq": r"\neq %", "≠": "≠ %", "¬": "¬%", "range to": "% to @ maybe", "between": "somewhere between % and @",
    "question": "%?", "unsure": "% (?)", "maybe": "maybe %", "probably": "probably %, but @ is possible", "about": "about %", "approx": "≈%",
    "sentence": "It is %, I think", "because": "% because it looks so", "I think": "I think it is %", "wrong": "% is wrong",
    "correction": "% no wait, @", "actually": "% actually @", "then": "first %, finally @", "unticked": "[ ] %",
    "ticks": "[x] @\n[ ] %", "glued": "x%x", "glued in front": "z%", "glued behind": "%z", "emoji": "❌ %", "except": "all except %",
    "JSON, denied": '{"not": "%"}', "JSON, twice": '{"answer": "%", "answer": "@"}', "JSON, twice, other first": '{"answer": "@", "answer": "%"}',
    "JSON, two": '{"answer": "%", "other": "@"}', "two boxed": r"\boxed{%} \boxed{@}", "two bold": "**%** **@**",
    "deleted": "<del>%</del>", "struck": "<s>%</s>", "others": "others than %", "both": "both % and @, or neither", "ellipsis": "%...@",
    "less": "< %", "at least": "at least %", "not equal": "!= %", "bang": "!%" , "equals": "% = @", "power": "%^2 or so", "if": "% if @ else nothing",
    "colon": "@: %, that is", "dots": "% .. @",
}  # fmt: skip
SPOILED_REPLIES: Mapping[str, str] = {
    "bare": "%", "bare after a thought": "<think></think>%", "bare sentence": "The answer is %.", "bare, boxed": r"\boxed{%}",
    "thought only": "<think>%</think>", "tags in the thought only": "<think><answer>%</answer></think>",
    "thought left open": "<think>maybe <answer>%</answer>, but", "thought left open, other case": "<THINK>maybe <answer>%</answer>, but",
    "thought left open with blanks": "< think >maybe <answer>%</answer>", "thinking left open": "<thinking>maybe <answer>%</answer>, but",
    "second thought left open": "<think>a</think><think>b <answer>%</answer>", "entity thought left open": "&lt;think&gt;<answer>%</answer>",
    "opened by the template": "<think>\nmaybe <answer>%</answer>, but", "attribute": "<think x=1><answer>%</answer>",
    "two tags": "<answer>%</answer><answer>@</answer>", "two tags, other first": "<answer>@</answer><answer>%</answer>",
    "two tags, apart": "<answer>%</answer> no, rather <answer>@</answer>", "two tags, one left open": "<answer>@</answer><answer>%",
    "two tags, other left open": "<answer>%</answer><answer>@", "two cases": "<answer>%</answer><ANSWER>@</ANSWER>",
    "nested": "<answer>@<answer>%</answer></answer>", "opened twice": "<answer><answer>%</answer>", "closed only": "%</answer>",
    "other in a thought behind": "<answer>%</answer><think>no</think><answer>@</answer>", "attribute only": '<answer value="%"></answer>',
    "an empty thought between": "<answer>@</answer><think></think><answer>%</answer>",
    "an empty thought in the thought": "<think>a <think></think> b <answer>%</answer>",
    "an empty thought in the answer": "<answer>% <think></think> @</answer>",
    "empty and right": "<answer></answer><answer>%</answer>", "closed thought behind": "<answer>%</answer> no, wrong</think>",
    "other tag": "<result>%</result>", "answers": "<answers>%</answers>", "thirty": "<answer>%</answer><answer>@</answer>" * 15,
    "behind the empty tag": "<answer></answer>%", "in a comment": "<!-- <answer>@</answer> --><answer>%</answer>",
}  # fmt: skip
CUT: Mapping[str, str] = {
    "cut in the answer": "<think>x</think><answer>%",
    "cut in a second answer": "<answer>%</answer><answer>",
    "cut in a thought": "<think>maybe <answer>%</answer>, but",
    "cut in a thought behind": "<answer>%</answer><think>hm",
}
_THE_OTHER = frozenset({"spoiled: other in a thought behind"})
"""Kinds that plainly give the other answer, which may earn what that earns."""
_LONE_NUMBERS = ("integer", "triangles", "angle", "fine angle")
_SETS = (NodeSet, EdgeSet)


@dataclass(frozen=True)
class Reply:
    """A completion and what is asked of it: `read` (None: it must not be paid). `why` it is unread, if that is so."""

    case: str
    kind: str
    text: str
    read: Any = None
    why: str = ""
    truncated: bool = False


def right_replies() -> Iterator[Reply]:
    """Each case in all that stands inside or round the tags, and in all its own spellings, plain and in bold."""
    for name, case in CASES.items():
        for kind, pattern in INSIDE.items():
            yield Reply(
                name, f"inside: {kind}", ROUND["answer"].replace("%", pattern.replace("%", case.text)), case.read
            )
        if name not in _LONE_NUMBERS:
            yield Reply(name, "inside: dash", f"<answer>- {case.text}</answer>", case.read)
        for kind, pattern in ROUND.items():
            yield Reply(name, f"round: {kind}", pattern.replace("%", case.text), case.read)
        for text in case.also:
            yield Reply(name, f"spelled {text!r}", f"<think></think><answer>{text}</answer>", case.read)
            yield Reply(name, f"spelled {text!r}, marked", f"<ANSWER> {text}\n</ANSWER><|im_end|>", case.read)
    for (name, text), why in UNREAD.items():
        yield Reply(name, f"spelled {text!r}", f"<answer>{text}</answer>", CASES[name].read, why)


def spoiled_replies() -> Iterator[Reply]:
    """Each case denied, doubted, doubled, outside the tag or cut off; and all its answers in a row."""
    for name, case in CASES.items():
        for other in case.wrong[:2]:
            for kind, pattern in SPOILED.items():
                inner = pattern.replace("@", "\0").replace("%", case.text).replace("\0", other)
                yield Reply(name, f"spoiled: {kind}", f"<answer>{inner}</answer>")
            for kind, pattern in (*SPOILED_REPLIES.items(), *CUT.items()):
                text = pattern.replace("@", "\0").replace("%", case.text).replace("\0", other)
                yield Reply(name, f"spoiled: {kind}", text, truncated=kind in CUT)
        if not isinstance(case.verifier, _SETS):
            for between in (", ", " ", "; ", "\n", " and ", "/", "-", " – ", "|"):
                for row in ((case.text, *case.wrong), (*case.wrong, case.text)):
                    yield Reply(name, f"all in a row by {between!r}", f"<answer>{between.join(row)}</answer>")


@dataclass
class Count:
    """What a run over replies found: how many there were, and the replies that went wrong, with what became of them."""

    right: int = 0
    spoiled: int = 0
    exceptions: list[tuple[Reply, str]] | None = None
    unread: list[tuple[Reply, str]] | None = None
    paid: list[tuple[Reply, str]] | None = None

    @property
    def read_share(self) -> float:
        return 1 - len(self.unread or ()) / max(1, self.right)


def run(replies: Iterator[Reply]) -> Count:
    count = Count(exceptions=[], unread=[], paid=[])
    assert count.exceptions is not None
    assert count.unread is not None
    assert count.paid is not None
    for reply in replies:
        case = CASES[reply.case]
        try:
            score = case.verifier.score(reply.text, case.example, truncated=reply.truncated)
        except Exception as error:  # what is looked for
            count.exceptions.append((reply, f"{type(error).__name__}: {error}"))
            continue
        if reply.read is None:
            count.spoiled += 1
            if score.verdict == "correct" or (score.value > 0 and reply.kind not in _THE_OTHER):
                count.paid.append((reply, f"{score.verdict} {score.value:.2f} {score.parsed!r}"))
            continue
        count.right += 1
        right_text = isinstance(case.verifier, Text) and score.verdict == "correct"
        if score.verdict != "correct" or (score.parsed != reply.read and not right_text):
            count.unread.append((reply, f"{score.verdict} {score.parsed!r}"))
    return count


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.hostile.replies", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--unread", action="store_true", help="list what was not read or wrongly paid")
    parser.add_argument("--json", metavar="FILE", help="write the counts there")
    asked = parser.parse_args(argv)
    right, spoiled = run(right_replies()), run(spoiled_replies())
    unread, paid = right.unread or [], spoiled.paid or []
    exceptions = [*(right.exceptions or []), *(spoiled.exceptions or [])]
    counts = {
        "right": right.right, "read": right.right - len(unread), "read_share": round(right.read_share, 4),
        "unread_with_a_reason": sum(bool(reply.why) for reply, _ in unread), "must_not_be_paid": spoiled.spoiled,
        "paid_wrongly": len(paid), "exceptions": len(exceptions),
    }  # fmt: skip
    print("\n".join(f"{name:22} {number}" for name, number in counts.items()))
    for reply, what in [*exceptions, *paid, *unread] if asked.unread else []:
        print(f"  {reply.case}, {reply.kind}: {reply.text!r} -> {what}{f' ({reply.why})' if reply.why else ''}")
    if asked.unread:
        print(Counter(reply.kind for reply, _ in unread if not reply.why).most_common(12))
    if asked.json:
        with open(asked.json, "w") as file:
            json.dump(counts, file, indent=1)
    return int(bool(exceptions or paid or right.read_share < 0.95))


if __name__ == "__main__":
    sys.exit(main())
