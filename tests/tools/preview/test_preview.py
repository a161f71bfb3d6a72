import base64
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ssl4rl import Ssl4rlError, preview
from ssl4rl.tools.catalogue import card, catalogue, paragraphs
from ssl4rl.tools.preview.replies import lookup, sample_replies
from tests.fakes import FAKES
from tests.pages import Page

WORDS = "words:a,b,c,d,e,odd<b>"
LETTER, PAIR, PICTURE = (f"{FAKES}:{name}" for name in ("letter", "pair", "picture"))


def test_json_names() -> None:
    record = preview(PICTURE, n=3, seed=5).to_json()
    assert list(record) == [
        *(
            "task",
            "version",
            "level",
            "params",
            "data",
            "taken",
            "split",
            "seed",
            "style",
            "examples",
            "unusable_draws",
            "problems",
        )
    ]
    example = record["examples"][2]
    assert list(example) == [
        *("key", "names", "prompt", "answer", "accepted", "chance", "expected", "image_sizes", "digest", "rejected")
    ]
    assert example["image_sizes"] == [[8, 16]]
    assert example["prompt"].startswith(
        "Grey:<image><sound><script>x</script> Which?\nAnswer with a whole number from 0 to 3."
    )
    assert (example["chance"], example["key"]["index"], example["key"]["seed"]) == (0.25, 2, 5)


def test_text() -> None:
    text = str(preview(PICTURE, n=2))
    assert text.startswith("fakes/picture@1  four  many:60 (train), seed 0\n")
    assert "Grey:<image 8x16>\nsound of 7 <i>Hz</i>\n<script>x</script> Which?" in text
    assert re.search(r"answer: [0-3]   chance: 0\.25", text)


def test_unusable_draws_are_counted() -> None:
    shown = preview(PAIR, n=20)
    count = shown.rejected["bad luck"]
    assert count > 0
    assert shown.to_json()["unusable_draws"] == {"bad luck": count}
    assert f"unusable draws: bad luck ({count}x)" in str(shown)
    assert f"{count} of {20 + count} draws could not be used" in shown.page()


def test_names_of_the_items_are_shown(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for number in range(3):
        save_picture(tmp_path / f"a/p{number} <b>.jpg", number)
    shown = preview("vision/contrastive", str(tmp_path), n=4, split="all")
    for example, record in zip(shown.examples, shown.to_json()["examples"], strict=True):
        assert example.key
        ids = {shown.data.components[0].split.source.id(i): f"a/p{i} <b>.jpg" for i in range(3)}
        assert record["names"] == [ids[identity] for identity in example.key.sources]
        assert len(set(record["names"])) == 2
    first, second = (f"a/{name} ({i})" for name, i in named(shown.to_json()["examples"][0]))
    assert f"[1] {first}, {second}\n" in str(shown)
    assert f" · {first.replace('<b>', '&lt;b&gt;')} · " in shown.page()


def named(record: dict[str, Any]) -> list[tuple[str, str]]:
    return [(name.partition("/")[2], i) for name, i in zip(record["names"], record["key"]["sources"], strict=True)]


def save_picture(file: Path, seed: int) -> None:
    values = np.random.Generator(np.random.PCG64(seed)).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    Image.fromarray(values).resize((320, 240), Image.Resampling.BICUBIC).save(file)


@pytest.mark.parametrize(
    ("task", "data", "level", "names"),
    [
        ("graph/neighbours", "nx:florentine_families", None, r"node [A-Z]\w+"),
        ("graph/hops", "nx:karate_club", None, r"node \d+"),
        ("graph/motifs", "nx:atlas", None, r"graph \d+"),
        ("graph/hops", "sbm:", None, ""),
        ("vision/rotation", "sample:", "90deg,questions=2", r"\w+\.jpg \w+\.jpg"),
    ],
)
def test_nodes_graphs_and_several_questions_have_names(task: str, data: str, level: str | None, names: str) -> None:
    for record in preview(task, data, level, n=3).to_json()["examples"]:
        assert re.fullmatch(names, " ".join(record["names"]))
        assert len(record["names"]) == len(record["key"]["sources"])


@pytest.fixture
def page() -> Page:
    return Page(preview(PICTURE, n=4, data=WORDS, split="all").page())


def test_the_page_is_whole_and_needs_nothing_else(page: Page) -> None:
    assert page.open == []
    links = [a.get("src") or a.get("href") for _, a in page.tags if "src" in a or "href" in a]
    assert all(link and link.startswith("data:") for link in links)
    assert len(page.all("script")) == 1
    assert len(page.all("article")) == 4
    assert not re.search(r"url\(|@import|https?:", page.text)


def test_everything_is_escaped(page: Page) -> None:
    for text in (
        "<script>x</script> Which?",
        "sound of 7 <i>Hz</i>",
        "<answer>broken page</answer>",
        "too odd <b>to read</b>",
    ):
        assert text in page.text
    assert not {tag for tag, _ in page.tags} & {"answer", "think", "i", "b"}


def test_pictures_are_the_models_own_pixels_shown_larger(page: Page) -> None:
    image = page.all("img")[0]
    assert image["src"]
    picture = Image.open(io.BytesIO(base64.b64decode(image["src"].partition(",")[2])))
    assert picture.size == (8, 16)
    assert (image["class"], image["width"], image["alt"]) == ("crisp", "160", "image, 8 by 16 pixels")


def test_drawings_are_pictures_beside_the_prompt(page: Page) -> None:
    sources = [image["src"] or "" for image in page.all("img") if "drawing" in (image["alt"] or "")]
    drawn = [base64.b64decode(source.removeprefix("data:image/svg+xml;base64,")).decode() for source in sources]
    answers = [example.answer for example in preview(PICTURE, n=4, data=WORDS, split="all").examples]
    assert [re.findall('width="([0-9]+)"', text) for text in drawn] == [
        [width] for answer in answers for width in (str(10 + answer), "99")
    ]
    assert not page.all("svg")


def test_tasks_without_drawings_have_none() -> None:
    assert "drawing" not in re.sub(r"(?s)<style>.*?</style>", "", preview(LETTER, n=1).page())


def test_replies_to_try(page: Page) -> None:
    known = json.loads(page.all("article")[0]["data-known"] or "")
    verdicts = {reply["inner"]: reply["verdict"] for reply in known if reply["text"] is None}
    assert {inner: verdicts[inner] for inner in "0123"}.keys() == set("0123")
    assert sorted(verdicts[inner] for inner in "0123") == ["correct", "wrong", "wrong", "wrong"]


def test_sample_replies_cover_the_verdicts() -> None:
    data = preview(LETTER, n=1, level="hard").data
    replies = sample_replies(data, data[0])
    kinds = {reply.kind: reply.score.verdict for reply in replies}
    expected = {"right": "correct", "wrong": "wrong", "other spelling": "correct", "two answers": "unparsed"}
    expected |= {"no tags": "unparsed", "empty tags": "unparsed", "tag left open": "correct"}
    expected |= {
        "only in the reasoning": "unparsed",
        "cut off at the limit": "truncated",
        "sentence in the tags": "unparsed",
    }
    assert kinds == expected
    assert len({reply.text for reply in replies}) == len(replies)
    assert {text for text, _ in lookup(data, data[0])} >= set("ABCDabcd")


def test_a_page_that_cannot_be_written_is_explained(tmp_path: Path) -> None:
    with pytest.raises(Ssl4rlError, match=r"cannot write '.*/none/page.html': No such file or directory"):
        preview(LETTER, n=1).save(tmp_path / "none" / "page.html")


def test_a_card_is_wrapped_by_the_page_alone() -> None:
    card = (
        "Hops: how many\nedges?\n\nSees: a graph of a few\nnodes (at most\n12 of them).\nAnswers: a number.\n\n"
        "Levels:\n- one\n  more of it\n- two\n\n    code = 1\nand after it"
    )
    assert paragraphs(card) == (
        "Hops: how many edges?\n\nSees: a graph of a few nodes (at most 12 of them).\nAnswers: a number.\n\n"
        "Levels:\n- one\n  more of it\n- two\n\n    code = 1\nand after it"
    )


def test_no_card_of_ours_keeps_its_source_lines_on_the_page() -> None:
    """No line but a paragraph's last ends within a sentence."""
    for entry in catalogue()[0]:
        for line in paragraphs(card(entry.task)).splitlines():
            assert line == "" or line.rstrip()[-1] in ".:?)!", line
