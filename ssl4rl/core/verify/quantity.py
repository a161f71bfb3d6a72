"""Verifier of a number that was measured or computed: tolerance, thousands, exponents, and units that convert."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from ssl4rl.core.types import Example
from ssl4rl.core.verify import made
from ssl4rl.core.verify.base import Verifier
from ssl4rl.core.verify.plain import bare

if TYPE_CHECKING:
    import numpy as np

_ALIASES: tuple[tuple[str, float, str], ...] = (
    ("length", 1e-3, "mm|millimetre|millimeter"),
    ("length", 1e-2, "cm|centimetre|centimeter"),
    ("length", 1.0, "m|metre|meter"),
    ("length", 1e3, "km|kilometre|kilometer"),
    ("length", 0.0254, "in|inch|inches"),
    ("length", 0.3048, "ft|foot|feet"),
    ("length", 1609.344, "mi|mile"),
    ("mass", 1e-6, "mg|milligram"),
    ("mass", 1e-3, "g|gram|gramme"),
    ("mass", 1.0, "kg|kilogram|kilo"),
    ("mass", 1e3, "t|tonne"),
    ("time", 1e-3, "ms|millisecond"),
    ("time", 1.0, "s|sec|second"),
    ("time", 60.0, "min|minute"),
    ("time", 3600.0, "h|hr|hour"),
    ("time", 86400.0, "d|day"),
    ("volume", 1e-3, "ml|millilitre|milliliter"),
    ("volume", 1.0, "l|litre|liter"),
    ("area", 1e-4, "cm^2|cm2|square centimetre|square centimeter"),
    ("area", 1.0, "m^2|m2|square metre|square meter"),
    ("area", 1e6, "km^2|km2|square kilometre|square kilometer"),
    ("angle", 1.0, "°|deg|degree"),
    ("share", 1.0, "%|percent|per cent|pct"),
    ("celsius", 1.0, "°c|degree celsius|celsius"),
    ("fahrenheit", 1.0, "°f|degree fahrenheit|fahrenheit"),
    ("dollar", 1.0, "$|usd|dollar"),
    ("dollar", 0.01, "cent|¢"),
    ("euro", 1.0, "€|eur|euro"),
    ("pound", 1.0, "£|gbp|pound sterling"),
    ("yen", 1.0, "¥|jpy|yen"),
)
UNITS = {name: (kind, size) for kind, size, names in _ALIASES for name in names.split("|")}
"""A unit's name, in lower case and singular -> what it measures, and how much of it."""

_SCALES = {"thousand": 1e3, "million": 1e6, "billion": 1e9, "trillion": 1e12}
_CHANGES = frozenset(
    """
    hundred dozen half halves third quarter tenth hundredth thousandth percent plus minus times squared cubed factorial
    point not no never nor or and but maybe perhaps more less fewer over under than each pair couple score gross
    """.split()  # noqa: SIM905
)
"""Words behind a number that make it another one, or none."""
_WORDS = "zero one two three four five six seven eight nine ten eleven twelve".split()  # noqa: SIM905

_DIGITS = r"(?:\d{1,3}(?:,\d{3}){1,5}|\d{1,16})(?:\.\d{0,24})?|\.\d{1,24}"
_NUMBER = re.compile(
    rf"([+-]?)(?:([$€£¥])\s?)?(-?)({_DIGITS})"
    r"(?:\s?(?:e|[x×*·]\s?10\s?\^)\s?\{?\s?([+-]?\d{1,3})\s?\}?)?"
    r"(?:\s?/\s?(\d{1,16}))?\s?(.{0,40}?)\s?\.?",
    re.IGNORECASE | re.DOTALL,
)
_UNIT = re.compile(r"[^\W\d_]{1,20}", re.IGNORECASE)


def unit_of(text: str) -> str:
    """A unit as it is compared: lower case, singular, "m²" as "m^2"; "" for none."""
    folded = " ".join(text.casefold().replace("²", "^2").replace(" ^", "^").strip(" .()[]").split())
    if folded in UNITS or folded.removesuffix("s") not in UNITS:
        return folded if folded in UNITS or len(folded) < 4 else folded.removesuffix("s")
    return folded.removesuffix("s")


def ratio(said: str, asked: str) -> float | None:
    """What a number in unit `said` is multiplied by to be one in `asked`; None where they measure different things."""
    if said == asked:
        return 1.0
    one, other = UNITS.get(said), UNITS.get(asked)
    return one[1] / other[1] if one and other and one[0] == other[0] else None


def quantity(text: str) -> tuple[float, str] | None:
    """The number that a text is, and its unit ("" for none): "1,203.5 kg", "$4", "2.5e3", "3/4", "seven".

    None for any other text, two numbers ("3 or 4") among it.
    """
    text = bare(text) if not text.startswith("$") else text.strip(" *\"'`()[]{}")
    if text.casefold() in _WORDS:
        return float(_WORDS.index(text.casefold())), ""
    found = _NUMBER.fullmatch(text)
    if found is None:
        return None
    sign, money, inner, digits, exponent, below, unit = found.groups()
    if (sign and inner) or (money and unit) or (below and not int(below)):
        return None
    value = float(f"{digits.replace(',', '')}e{exponent or 0}") / int(below or 1)
    word, _, rest = unit.casefold().partition(" ")
    if word in _SCALES:
        value, unit = value * _SCALES[word], rest
    if not made.is_number(value):
        return None
    return (-value if "-" in (sign, inner) else value), unit_of(money or unit)


@dataclass(frozen=True)
class Number(Verifier):
    """A number: "1,203.5", "-4", "2.5e3", "3/4", "12 cm", "$5", "3 million", "seven".

    Right within a tolerance of `absolute` + `relative` times the right number (0: exact). `meta["unit"]` says the right
    number's unit: a reply without one is taken in it, one in a unit of the same kind is converted (120 mm for 12 cm),
    one in another is unparsed. Where no unit is known, one word behind the number is a unit and does not matter.
    Reward: exact, in the tolerance. Guessing says `meta["guess"]`, the number that is right most often over the whole
    data; without one it earns nothing.
    """

    absolute: float = 0.0
    relative: float = 0.0
    answers: ClassVar[str] = "a number"

    def is_answer(self, answer: Any) -> bool:
        return made.is_number(answer)

    def require(self, example: Example) -> None:
        super().require(example)
        if not isinstance(example.meta.get("unit", ""), str):
            made.refuse("meta['unit']", example.meta["unit"], "a text")

    @property
    def instruction(self) -> str:
        return "Answer with one number."

    def parse(self, text: str, example: Example) -> float | None:
        found = quantity(text)
        if found is None:
            return None
        value, said = found
        asked = unit_of(example.meta.get("unit", ""))
        if said and asked:
            times = ratio(said, asked)
            return None if times is None else _plain(value * times)
        if said and said not in UNITS and (not _UNIT.fullmatch(said) or said in _CHANGES):
            return None
        return _plain(value)

    def grade(self, parsed: Any, example: Example) -> float:
        return float(any(self.within(parsed, answer) for answer in example.accepted))

    def within(self, said: float, right: float) -> bool:
        """Whether a number counts as another one. A billionth is left to rounding."""
        return abs(said - right) <= self.absolute + (self.relative + 1e-9) * abs(right)

    def render(self, answer: Any) -> str:
        return str(_plain(answer))

    def random_answer(self, example: Example, rng: np.random.Generator) -> float:
        return float(example.meta["guess"]) if "guess" in example.meta else int(rng.integers(10**6, 10**9))

    def chance(self, example: Example) -> float:
        return self.grade(example.meta["guess"], example) if "guess" in example.meta else 0.0


def _plain(number: float) -> float:
    """Whole numbers without a point."""
    return int(number) if float(number).is_integer() and abs(number) < 1e16 else float(number)
