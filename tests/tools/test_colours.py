"""Words on our pages and on the site are read in light and in dark: 4.5 to 1, as WCAG 2 asks of small letters."""

from __future__ import annotations

import itertools
import re

import pytest

from tests.docs_commands import ROOT

PAGE = (ROOT / "ssl4rl/tools/page.css").read_text(encoding="utf-8")
REPORT = (ROOT / "ssl4rl/tools/report.css").read_text(encoding="utf-8")
SITE = (ROOT / "docs/assets/site.css").read_text(encoding="utf-8")


def contrast(one: str, other: str) -> float:
    """WCAG 2's contrast of two colours, "#rrggbb": 1 to 21."""
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(share * part for share, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def colours(css: str, dark: bool) -> dict[str, str]:
    """The `--name: #rrggbb` of a sheet's first :root, or of the one for dark."""
    light, _, rest = css.partition("@media (prefers-color-scheme: dark)")
    return dict(re.findall(r"--(\w+): (#[0-9a-f]{6});", rest.partition("\n}")[0] if dark else light))


def test_contrast() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)  # the grey that just fails


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_words_of_a_page_are_read(dark: bool) -> None:
    page = colours(PAGE, dark)
    words, grounds = ("ink", "soft", "accent", "good", "part", "bad", "none"), ("paper", "card", "wash")
    weak = {
        (word, ground): round(contrast(page[word], page[ground]), 2)
        for word, ground in itertools.product(words, grounds)
        if contrast(page[word], page[ground]) < 4.5
    }
    assert weak == {}


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_lines_of_a_chart_are_seen(dark: bool) -> None:
    lines = colours(REPORT, dark)
    assert sorted(lines) == ["c0", "c1", "c2", "c3", "c4", "c5"]
    assert min(contrast(line, colours(PAGE, dark)["paper"]) for line in lines.values()) >= 3


def test_links_of_the_site_are_read() -> None:
    (link,) = re.findall(r'\[data-md-color-scheme="default"\].*--md-typeset-a-color: (#[0-9a-f]{6})', SITE)
    (head,) = re.findall(r"--md-primary-fg-color: (#[0-9a-f]{6})", SITE)
    assert contrast(link, "#ffffff") >= 4.5
    assert contrast(link, "#f5f5f5") >= 4.5  # in code
    assert contrast("#ffffff", head) >= 4.5
    numbers, constants = re.findall(r"--md-code-hl-(?:number|constant)-color: (#[0-9a-f]{6})", SITE)
    slate_code = "#272a35"  # Material's ground of code in the dark
    assert min(contrast(numbers, slate_code), contrast(constants, slate_code)) >= 4.5
