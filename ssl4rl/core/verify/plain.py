"""What people and models put round a plain answer, and how it comes off: characters first, then wrappers.

Nothing here knows what an answer is. A wrapper means nothing by itself (bold, a code fence, "The answer is"); what
denies, doubts, joins or strikes out ("not", "~~B~~", "or", "?", an empty tick box) is no wrapper and stays, so that the
parser which then sees it refuses. What is taken from between two characters leaves a space, lest "9**0" become 90.
"""

from __future__ import annotations

import html
import json
import re
import unicodedata
from collections.abc import Callable, Iterator
from typing import Any

MAX_CHARS = 4000
"""The longest text between answer tags that is read."""
_MOST_LAYERS = 10

_SPACES = re.compile(r"\s{2,}|[^\S \n]")
_SUBSCRIPT = re.compile(r"(?<=\d)(?=[₀-₉])")


def _each(characters: str, to: str) -> dict[int, str]:
    return {ord(character): to for character in characters}


_NO_WIDTH = "\u00ad\u180e\u200b\u200c\u200d\u200e\u200f\u2060\ufeff\ufe0e\ufe0f"
# NFKC would make letters, spaces and plain digits of these: 90º, 9⁰.
_BEFORE = _each(_NO_WIDTH, "") | _each("º˚∘", "°") | _each("´", "'")
_BEFORE |= {ord(sup): f"^{digit}" for digit, sup in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")}
_PARTS = "¼½¾⅐⅑⅒⅓⅔⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞"
_MIXED = re.compile(rf"(?<=\d)(?=[{_PARTS}])")
_AFTER = {
    **_each("⁄", "/"),
    **_each("‐‑‒–—―−⁃", "-"),
    **_each("‘’‚‛", "'"),
    **_each("“”„‟«»‹›「」『』〝〞〟", '"'),
    **_each("。।۔։።᙮꓿︒", "."),
    **_each("、،", ","),
    **_each("؛", ";"),
    **_each("【〔〖", "["),
    **_each("】〕〗", "]"),
    **_each("→➔➜➝⟶⇒⟹", "->"),
    **_each("←⟵⇐", "<-"),
    **_each("↔⟷⇔", "<->"),
    **_each("‣▪●◦", "•"),
}


def normalise(text: str) -> str:
    """The text with entities, compatibility forms, dashes, quotes, arrows and white space each written in one way.

    Fullwidth digits and ligatures are folded, what has no width is gone; each run of white space is one space or line
    break, which also keeps the parsers' regular expressions linear. Superscripts stay apart from the digits they stand
    at. A text beyond MAX_CHARS gives "", which means nothing: cut short it might mean something else.
    """
    text = text.strip()
    if len(text) > MAX_CHARS:
        return ""
    if "&" in text:
        text = html.unescape(text)
    if not text.isascii():
        text = _MIXED.sub(" ", _SUBSCRIPT.sub("_", text.translate(_BEFORE)))
        text = unicodedata.normalize("NFKC", text).translate(_AFTER)
    return tidy(text) if len(text) <= MAX_CHARS else ""


def tidy(text: str) -> str:
    """Trimmed, each run of white space one space or line break."""
    return _SPACES.sub(lambda run: "\n" if "\n" in run[0] else " ", text.strip())


def layers(text: str) -> Iterator[str]:
    """A normalised text as it stands, then with one wrapper after another taken off, the outermost first."""
    yield text
    for _ in range(_MOST_LAYERS):
        inner = next((inner for peel in _PEELS if (inner := tidy(peel(text))) != text), "")
        if not inner:
            return
        text = inner
        yield text


def innermost(text: str) -> str:
    """The last of `layers`."""
    *_, last = layers(text)
    return last


# Named, for the first line of another kind may be an answer.
_LANGUAGE = re.compile(
    r"(?:text|txt|plain|plaintext|json|python|py|markdown|md|latex|tex|html|xml|yaml)?\n", re.IGNORECASE
)


def _fence(text: str) -> str:
    if len(text) > 6 and text.startswith("```") and text.endswith("```") and "```" not in text[3:-3]:
        body = text[3:-3]
        language = _LANGUAGE.match(body)
        return body[language.end() :] if language else body
    return text


_KEYS = (
    "answer", "answers", "final_answer", "final", "result", "solution", "value", "choice", "option", "letter", "angle",
    "rotation", "degrees", "order", "permutation", "nodes", "edges", "edge", "path", "distance", "count", "number",
    "position", "bbox", "box",
)  # fmt: skip


def from_json(text: str) -> Any:
    """The value of a JSON text; None where it is none, or has a key twice: two answers, of which the last would win."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise ValueError("a key is there twice")
        return found

    try:
        return json.loads(text, object_pairs_hook=once)
    except (ValueError, RecursionError):
        return None


def _json_object(text: str) -> str:
    """`{"answer": ...}` with that one key."""
    if not (text.startswith("{") and text.endswith("}") and '"' in text):
        return text
    loaded = from_json(text)
    if not isinstance(loaded, dict) or len(loaded) != 1:
        return text
    ((key, value),) = loaded.items()
    if key.strip().casefold() not in _KEYS or isinstance(value, bool | None | dict):
        return text
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


_TEX_WORDS = re.compile(
    r"\\(?:boxed|fbox|text(?:bf|it|tt|rm|sf|up|normal)?|math(?:rm|bf|it|tt|sf|bb|cal)|mbox|hbox|operatorname|bm|mathop)"
    r"\s?\{([^{}\\]*)\}"
)
_TEX_SIGNS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), to)
    for pattern, to in (
        (r"\s?\^\s?(?:\{\s?(?:\\circ|°|o)\s?\}|\\circ\b|°|o\b)|\\(?:degree|textdegree)\b", "°"),
        (r"\\(?:long)?leftrightarrow\b", "<->"),
        (r"(?<=\d)(?=\\[dt]?frac)", " "),
        (r"\\[dt]?frac\s?(?:\{\s?(\d{1,16})\s?\}|(\d))\s?(?:\{\s?(\d{1,16})\s?\}|(\d))", r"\1\2/\3\4 "),
        (r"\\(?:times|cdot)\b", "×"),
        (r"(?<=\d)(?:\{,\}|\\,)(?=\d{3}(?!\d))", ","),
        (r"\\(?:to|(?:long)?rightarrow|Rightarrow|implies|mapsto)\b", "->"),
        (r"\\(?:gets|(?:long)?leftarrow)\b", "<-"),
        (r"\\(?:displaystyle|textstyle|left|right|quad|qquad|big|Big|large|Large|bf|rm)\b|\\[,;:! ]", " "),
        (r"\\([%_{}$&#])", r"\1"),
        (r"\\[()\[\]]", " "),
        (r"(?<!\w)\$\$?|\$\$?(?!\w)", " "),
    )
)


def _tex(text: str) -> str:
    if "\\" not in text and "$" not in text and "^" not in text and "{,}" not in text:
        return text
    for pattern, to in _TEX_SIGNS:
        text = pattern.sub(to, text)
    for _ in range(_MOST_LAYERS):
        inner = _TEX_WORDS.sub(r" \1 ", text)
        if inner == text:
            break
        text = inner
    return text


_MARKUP = re.compile(
    r"\*\*|`|<\|[^<>|]{1,40}\|>|</?(?:b|strong|i|em|code|tt|p|span|u|br|div|li|ul|ol)\s?/?>", re.IGNORECASE
)


def _markup(text: str) -> str:
    return _MARKUP.sub(" ", text)


_LEAD = re.compile(
    r"(?:(?:so|thus|hence|therefore)\s?,?\s)?"
    r"(?:(?:the|my|our|la|die|il)\s)?(?:(?:final|correct|right|best)\s)?"
    r"(?:(?:answer|result|solution|option|choice|letter)s?|antwort|réponse|respuesta|resposta|risposta|ответ"
    r"|(?:正确|最终)?答案|答え|정답"
    r"|(?:rotation |bounding |missing |hidden |shortest )?"
    r"(?:angle|rotation|order|permutation|paths?|nodes?|neighbou?rs|edges?|box|distance|position|location|coordinates)"
    r"|number(?: of (?:hops|edges|steps|links|triangles|nodes))?)"
    r"(?:\s?[:=]|\n|\s(?:is|are|would be|must be|ist|est|es)\b\s?:?|是:?|は|为)",
    re.IGNORECASE,
)


def _lead(text: str) -> str:
    found = _LEAD.match(text)
    return text[found.end() :] if found else text


_BULLET = re.compile(r"[-*•]\s(?=\S)")
_HEADING = re.compile(r"#{1,6}\s(?=\S)")
_ONE_NUMBER = re.compile(r"\D*\d+(?:\.\d+)?(?:\s?/\s?\d+)?\D*")


def _bullets(text: str) -> str:
    """Of every line. A lone "- 90" keeps its dash, for it may be a minus."""
    if heading := _HEADING.match(text):
        return text[heading.end() :]
    lines = text.split("\n")
    if not all(_BULLET.match(line) for line in lines):
        return text
    if len(lines) == 1 and text.startswith("-") and _ONE_NUMBER.fullmatch(text[1:]):
        return text
    return "\n".join(line[2:] for line in lines)


_BRACKETS = {"(": ")", "[": "]", "{": "}"}
_QUOTES = ('"', "'", "__", "*", "_")


def _enclosed(text: str) -> str:
    """Without the brackets or quotes that the whole text is in."""
    close = _BRACKETS.get(text[:1])
    if close and text.endswith(close):
        return text[1:-1] if _balanced(text[1:-1]) else text
    for quote in _QUOTES:
        n = len(quote)
        if len(text) > 2 * n and text.startswith(quote) and text.endswith(quote) and quote not in text[n:-n]:
            return text[n:-n]
    return text


def _balanced(text: str) -> bool:
    open_brackets: list[str] = []
    for character in text:
        if character in _BRACKETS:
            open_brackets.append(_BRACKETS[character])
        elif character in ")]}" and (not open_brackets or open_brackets.pop() != character):
            return False
    return not open_brackets


def _stop(text: str) -> str:
    return text[:-1] if text.endswith((".", ",", ";")) and not text.endswith("..") else text


_PEELS: tuple[Callable[[str], str], ...] = (
    _fence, _json_object, _tex, _markup, _lead, _bullets, _enclosed, _stop,
)  # fmt: skip


_NUMBERED = re.compile(r"(\d{1,3})[.)]\s(?=\S)")


def unlisted(text: str) -> str:
    """A list one item a line, without its bullets or its numbers 1, 2, 3, ... (not of a single line)."""
    lines = text.split("\n")
    if all(_BULLET.match(line) for line in lines):
        return "\n".join(line[2:] for line in lines)
    numbers = [_NUMBERED.match(line) for line in lines]
    if len(lines) > 1 and all(found and int(found[1]) == i for i, found in enumerate(numbers, 1)):
        return "\n".join(line[found.end() :] for line, found in zip(lines, numbers, strict=True) if found)
    return text


def fold(text: str) -> str:
    """Case, hyphens, underscores, repeated spaces and enclosing punctuation do not matter.

    A "!" in front does: it denies.
    """
    spaced = re.sub(r"[-_\s]+", " ", text.casefold())
    return " ".join(spaced.rstrip(" ()[]{}.,:;!*\"'`").lstrip(" ()[]{}.,:;*\"'`").split())


def bare(text: str) -> str:
    """Without what people put round a number: brackets, quotes, Markdown's stars, dollar signs."""
    return text.strip(" *\"'`$()[]{}")
