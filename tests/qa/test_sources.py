"""Tables as sources: pictures of every kind, what is skipped and said, what is held out, what is a benchmark."""

from __future__ import annotations

import base64
import io
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ssl4rl.core.mixture import create_dataset, open_recipe
from ssl4rl.core.recipe.recipe import make_recipe
from ssl4rl.core.source import Split
from ssl4rl.core.types import Ssl4rlError
from ssl4rl.qa.labelled import Labelled, Raw
from ssl4rl.qa.tables.opening import benchmark_of, open_path
from tests.qa.helpers import error, items, jsonl, opened, pictures, skipped
from tests.vision.files import b64, encoded, write_tsv


def shown(item: Labelled | Raw) -> list[tuple[int, int]]:
    """The sizes of an item's pictures."""
    return [photo.decode(8).size for photo in item.photos]


def uri(data: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(data).decode()


def test_jsonl_pictures_are_paths_base64_data_urls_and_bytes(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png", "pics/b.png", size=(30, 20))
    data = encoded(7, size=(16, 16))
    path = jsonl(
        tmp_path / "x.jsonl",
        {"question": "none?", "answer": "1"},
        {"question": "path?", "answer": "1", "image": "a.png"},
        {"question": "two?", "answer": "1", "image": ["a.png", "pics/b.png"]},
        {"question": "base64?", "answer": "1", "image": b64(data)},
        {"question": "url?", "answer": "1", "image": uri(data)},
        {"question": "bytes?", "answer": "1", "image": [{"bytes": b64(data), "path": None}, {"path": "a.png"}]},
        {"question": "empty?", "answer": "1", "image": ""},
    )
    source = opened("text", path)
    assert [shown(item) for item in items(source)] == [
        [], [(30, 20)], [(30, 20), (30, 20)], [(16, 16)], [(16, 16)], [(16, 16), (30, 20)], [],
    ]  # fmt: skip
    assert source.taken == "took question=question, answer=answer, pictures=image (texts); 7 rows"


def test_what_is_wrong_with_a_row_is_said_by_its_number(tmp_path: Path) -> None:
    pictures(tmp_path, "good.png")
    (tmp_path / "bad.png").write_bytes(b"nothing")
    (tmp_path.parent / "outside.png").write_bytes(encoded(1))
    rows = [
        {"image": "good.png"},
        {"image": "bad.png"},
        {"image": "gone.png"},
        {"image": "../outside.png"},
        {"image": "https://pictures.example/a.png"},
        {"image": "notes.txt"},
        {"image": 7},
    ]
    path = jsonl(tmp_path / "x.jsonl", *({"question": f"{n}?", "answer": "a", **row} for n, row in enumerate(rows)))
    with open(path, "a") as file:
        file.write("{broken\n[1, 2]\n\n")
        file.write(json.dumps({"question": "", "answer": "a"}) + "\n")
        file.write(json.dumps({"question": "q?", "answer": None}) + "\n")
    source = opened("text", path)
    assert [item.question for item in items(source)] == ["0?"]
    found = skipped(source)
    assert {name: found[f"x.jsonl row {name}"] for name in (4, 5, 6, 7, 8, 9, 11, 12)} == {
        4: "'../outside.png' leads outside its folder",
        5: "'https://pictures.example/a.png' is an address; pictures are read from files beside the table",
        6: "'notes.txt' is no path of a picture (.jpg, .jpeg, .jpe, ...), nor base64",
        7: "its image holds no picture, but 7",
        8: "no JSON object",
        9: "no JSON object",
        11: "it asks nothing",
        12: "it has no answer",
    }
    assert found["x.jsonl row 2"] == "its picture: no picture (or of an unknown format)"
    assert found["x.jsonl row 3"].startswith("its picture: ")
    assert len(found) == 10
    assert "; 1 rows, 10 skipped: x.jsonl row 4: '../outside.png' leads outside its folder" in source.taken


def test_whatever_a_line_holds_it_is_a_row_or_a_reason(tmp_path: Path) -> None:
    lines = [
        '{"question": "q?", "answer": ' + "[" * 600 + "]" * 600 + "}",
        '{"question": "q?", "answer": ' + "9" * 400 + "}",
        '{"question": "q?", "answer": 1e999}',
        '{"question": "q?", "answer": NaN}',
        '{"question": "half \\ud800 a letter?", "answer": "x\\udc00"}',
        '{"question": ["q?"], "answer": "a"}',
        '{"question": "q?", "answer": {"a": 1}}',
        '{"question": "q?", "answer": "a", "options": 7}',
        '{"question": "q?", "answer": "a", "options": {"A": "x", "B": null}}',
        '{"question": "q?", "answer": "4", "unit": ["cm"]}',
        '{"question": "\\u0000?", "answer": true}',
        '{"question": "q?", "answer": "4 cm"}',
    ]
    (tmp_path / "x.jsonl").write_text("\n".join(lines) + "\n")
    path = str(tmp_path / "x.jsonl")
    for kind in ("text", "number"):
        source = opened(kind, path)
        data = create_dataset(f"qa/{kind}", path, size=20, split="all")
        assert len(source) + len(source.problems) == len(lines)
        for example in data:
            assert data.score_answer(data.components[0].verifier.complete(example.answer), example).value == 1
            assert example.digest()
    assert len(pickle.loads(pickle.dumps(source))) == len(source)


def test_tsv_in_vlmevalkits_layout_and_others(tmp_path: Path) -> None:
    a, b = (b64(encoded(seed, size=(16, 16))) for seed in (1, 2))
    pictures(tmp_path, "p.png", size=(40, 30))
    path = write_tsv(
        tmp_path / "x.tsv",
        ["index", "question", "hint", "A", "B", "C", "answer", "image"],
        ["0", "base64?", "look", "cat", "dog", "", "A", a],
        ["1", "of row 0?", "", "cat", "dog", "hen", "C", "0"],
        ["2", "a list?", "", "cat", "dog", "nan", "B", f"['{a}', '{b}']"],
        ["3", "a path?", "nan", "cat", "dog", "hen", "B", "p.png"],
        ["4", "none?", "", "cat", "dog", "hen", "B", ""],
        ["5", "of row 99?", "", "cat", "dog", "hen", "B", "99"],
        ["6", "short", "cat"],
    )
    source = opened("choice", path)
    found = items(source)
    assert [(item.question, item.hint, item.options, item.answers, shown(item)) for item in found] == [
        ("base64?", "look", ("cat", "dog"), (0,), [(16, 16)]),
        ("of row 0?", "", ("cat", "dog", "hen"), (2,), [(16, 16)]),
        ("a list?", "", ("cat", "dog"), (1,), [(16, 16), (16, 16)]),
        ("a path?", "", ("cat", "dog", "hen"), (1,), [(40, 30)]),
        ("none?", "", ("cat", "dog", "hen"), (1,), []),
    ]
    assert skipped(source) == {
        "x.tsv row 6": "refers to row '99', which has no picture",
        "x.tsv row 7": "has 3 columns, the header 8",
    }
    plain = write_tsv(
        tmp_path / "y.tsv", ["q", "a", "opts"], ["1?", "x", '["x", "y"]'], ["2?", "y"], ["3?", "y", "x|y"]
    )
    source = opened("choice", f"{plain}?options=opts")
    assert [item.options for item in items(source)] == [("x", "y"), ("x", "y")]
    assert skipped(source) == {"y.tsv row 2": "has 2 columns, the header 3"}


def test_parquet_as_the_datasets_library_writes_it(tmp_path: Path) -> None:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    data = [encoded(seed, size=(16, 16)) for seed in (1, 2)]
    kind = arrow.struct([("bytes", arrow.binary()), ("path", arrow.string())])
    table = arrow.table(
        {
            "problem": ["one?", "none?", "two?"],
            "choices": [["x", "y"], ["x", "y", "z"], ["x", "y"]],
            "answer": [1, 2, 0],
            "images": arrow.array(
                [[{"bytes": data[0], "path": None}], [], [{"bytes": d, "path": None} for d in data]], arrow.list_(kind)
            ),
        }
    )
    parquet.write_table(table, tmp_path / "x.parquet", row_group_size=2)
    for text in (str(tmp_path / "x.parquet"), str(tmp_path)):
        found = items(opened("choice", text))
        assert [(item.options, item.answers, len(shown(item))) for item in found] == [
            (("x", "y"), (1,), 1), (("x", "y", "z"), (2,), 0), (("x", "y"), (0,), 2),
        ]  # fmt: skip
    single = arrow.table(
        {
            "question": ["a?", "b?"],
            "answer": ["x", "y"],
            "image": arrow.array([{"bytes": data[0], "path": None}, None], kind),
        }
    )
    parquet.write_table(single, tmp_path / "y.parquet")
    assert [len(item.photos) for item in items(opened("text", str(tmp_path / "y.parquet")))] == [1, 0]
    wrong = f"'parquet:{tmp_path}/y.parquet': column 'image' holds pictures, and was taken for texts; name another"
    assert error("text", f"{tmp_path}/y.parquet?answer=image") == wrong


def test_class_labels_of_a_dataset_are_options_and_answers(tmp_path: Path) -> None:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    features = {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}
    schema = arrow.schema(
        [("label", arrow.int64()), ("image", arrow.binary())],
        metadata={"huggingface": json.dumps({"info": {"features": features}})},
    )
    table = arrow.table({"label": [1, 0, 7], "image": [encoded(n, size=(16, 16)) for n in range(3)]}, schema=schema)
    parquet.write_table(table, tmp_path / "x.parquet")
    text = f"{tmp_path}/x.parquet?ask=What is shown?"
    assert [(item.question, item.options, item.answers) for item in items(opened("choice", text))] == [
        ("What is shown?", ("cat", "dog"), (1,)),
        ("What is shown?", ("cat", "dog"), (0,)),
    ]
    assert [item.answers for item in items(opened("text", text))] == [("dog",), ("cat",)]
    assert skipped(opened("text", text)) == {"x.parquet row 3": "it has no answer"}


def test_the_raw_table_is_every_tasks_and_each_kind_sees_its_own_rows(tmp_path: Path) -> None:
    path = jsonl(
        tmp_path / "x.jsonl",
        {"question": "how many?", "answer": 3},
        {"question": "which?", "answer": "red"},
        {"question": "one of?", "answer": "B", "options": ["x", "y"]},
    )
    table = open_path(path)
    assert [raw.question for raw in (table[0], table[1], table[2])] == ["how many?", "which?", "one of?"]
    assert table.taken == "took question=question, options=options, answer=answer; 3 rows"
    sizes = {kind: len(opened(kind, path)) for kind in ("choice", "number", "text")}
    assert sizes == {"choice": 1, "number": 1, "text": 3}
    assert error("box", path) == (
        f"'jsonl:{path}' (question=question, options=options, answer=answer): no row gives a qa/box question "
        "(x.jsonl row 1: its answer '3' is no box; x.jsonl row 2: its answer 'red' is no box; x.jsonl row 3: its "
        "answer 'B' is no box)"
    )


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("x.txt", "a", "'{}' is a file without questions; allowed: .tsv, .jsonl, .ndjson, .parquet, drawn:"),
        ("x.jsonl", '[{"question": 1}]\n', "'jsonl:{}': no line is a JSON object; of a list write one object a line"),
        ("x.csv", "question,answer\n", "'{}' is a file without questions; allowed: .tsv, .jsonl, .ndjson, .parquet, "),
        ("x.jsonl", "", "'jsonl:{}' is empty"),
        ("x.tsv", "", "'tsv:{}' is empty: its first row is to name the columns"),
        ("x.tsv", "question,answer\nq,a\n", "'tsv:{}': its header 'question,answer' has no tab; columns of a TSV are"),
        ("x.tsv", "question\tanswer\n", "'tsv:{}' has no rows"),
        (
            "x.tsv",
            "question\tanswer\nq\t\n",
            "'tsv:{}' (question=question, answer=answer): no row can be used (x.tsv row 1:",
        ),
    ],
)
def test_files_that_cannot_be_asked_are_one_line(tmp_path: Path, name: str, content: str, line: str) -> None:
    (tmp_path / name).write_text(content)
    assert error("text", str(tmp_path / name)).startswith(line.format(tmp_path / name))


def test_a_tsv_in_another_encoding_is_not_learned_from(tmp_path: Path) -> None:
    """Read as UTF-8 "café" in Latin-1 was an answer with U+FFFD in it."""
    path = tmp_path / "x.tsv"
    path.write_bytes("question\tanswer\nWhere?\tcafé\nWhen?\tnow\n".encode("latin-1"))
    source = opened("text", str(path))
    assert [item.answers for item in items(source)] == [("now",)]
    assert skipped(source) == {"x.tsv row 1": "its text is not in UTF-8"}
    path.write_text("question\tanswer\nWhere?\tcafé\n", encoding="utf-16")
    assert error("text", str(path)) == f"'tsv:{path}': its header is no text in UTF-8; save the file in UTF-8"


def test_a_question_with_more_places_than_pictures_is_none(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png", "b.png")
    rows = [
        ("Which of <image> and <image>?", ["a.png", "b.png"]),
        ("Which of <image> and <image>?", ["a.png"]),
        ("<image>What?", []),
        ("<image 2> after <image 1>, <image 2>?", ["a.png", "b.png"]),
        ("What is in <image 3>?", ["a.png", "b.png"]),
        ("No place?", ["a.png"]),
    ]
    table = [{"question": question, "image": image, "answer": "x"} for question, image in rows]
    source = opened("text", jsonl(tmp_path / "x.jsonl", *table))
    assert [item.name for item in items(source)] == ["x.jsonl row 1", "x.jsonl row 4", "x.jsonl row 6"]
    assert skipped(source) == {
        "x.jsonl row 2": "it has places for 2 pictures (<image>), and 1 pictures",
        "x.jsonl row 3": "it has places for 1 pictures (<image>), and 0 pictures",
        "x.jsonl row 5": "it has places for 3 pictures (<image>), and 2 pictures",
    }


def test_floats_of_32_bits_are_the_numbers_that_were_meant(tmp_path: Path) -> None:
    """0.1 was 0.10000000149011612, which a reply cannot say and a text should not."""
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    said = {"question": ["1?", "2?", "3?"], "answer": pa.array([0.1, 2.5, None], pa.float32())}
    pq.write_table(pa.table(said), tmp_path / "x.parquet")
    for kind, right in (("number", [(0.1,), (2.5,)]), ("text", [("0.1",), ("2.5",)])):
        assert [item.answers for item in items(opened(kind, str(tmp_path / "x.parquet")))] == right


def test_wrong_paths_and_options_are_one_line(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "questions.jsonl", {"question": "q?", "answer": "a"})
    assert error("text", path.replace("questions", "question")).endswith(f"did you mean '{path}'?")
    assert error("text", f"{path}?quest=x").endswith("unknown option 'quest'; did you mean 'question'?")
    assert error("text", str(tmp_path)).endswith(
        "is a folder without questions; allowed: .tsv, .jsonl, .ndjson, .parquet, drawn:"
    )
    with pytest.raises(Ssl4rlError, match="nothing may follow the colon"):
        create_dataset("qa/text", "drawn:x", size=1)


def test_a_row_is_held_out_by_question_and_pictures_wherever_it_stands(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png", "b.png")
    rows = [{"question": f"What is {n}?", "answer": "x", "image": "ab"[n % 2] + ".png"} for n in range(6)]
    one = opened("text", jsonl(tmp_path / "x.jsonl", *rows))
    other = opened("text", jsonl(tmp_path / "y.jsonl", *reversed(rows), {**rows[0], "question": "Another?"}))
    ids = [one.id(at) for at in range(6)]
    assert len({*ids}) == 6
    assert [other.id(at) for at in range(6)] == ids[::-1]
    changed = opened("text", jsonl(tmp_path / "z.jsonl", {**rows[0], "answer": "y"}, {**rows[0], "image": "b.png"}))
    assert changed.id(0) == ids[0]
    assert changed.id(1) not in ids


def copies(folder: Path) -> None:
    """A photograph's picture, half its size as JPEG, and another photograph."""
    from ssl4rl.vision.sources import open_sample

    sample = open_sample()
    first, second = (sample[at].decode(200) for at in (0, 5))
    first.save(folder / "a.png")
    small = first.resize((first.width // 2, first.height // 2), Image.Resampling.BOX)
    small.save(folder / "copy.jpg", quality=60)
    second.save(folder / "b.png")


def test_near_twins_of_pictures_and_of_questions_stay_together(tmp_path: Path) -> None:
    copies(tmp_path)
    long = "A train leaves at noon and drives eighty kilometres an hour for {} hours, how far does it come in all?"
    rows = [
        {"question": "Where was this?", "answer": "x", "image": "a.png"},
        {"question": "Who took it?", "answer": "x", "image": "copy.jpg"},
        {"question": "Who took it?", "answer": "x", "image": "b.png"},
        {"question": long.format("three"), "answer": "240"},
        {"question": long.format("three").replace("?", "!"), "answer": "240"},
        {"question": "What is the capital of France?", "answer": "Paris"},
        {"question": "What is the capital of Spain?", "answer": "Madrid"},
    ]
    source = opened("text", jsonl(tmp_path / "x.jsonl", *rows))
    groups = source.groups("look")
    assert groups is not None
    assert groups[0] == groups[1]
    assert groups[3] == groups[4]
    assert len({*groups}) == 5
    assert source.groups("content") is None
    for split in (Split(source, "train", 0.5), Split(source, "held_out", 0.5)):
        sides = {source.id(int(i)) for i in split._indices}
        assert (source.id(0) in sides) == (source.id(1) in sides)


def test_rows_of_one_folder_stay_together(tmp_path: Path) -> None:
    pictures(tmp_path, "one/a.png", "one/b.png", "two/c.png")
    rows = [{"question": "q?", "answer": "x", "image": f} for f in ("one/a.png", "one/b.png", "two/c.png")]
    groups = opened("text", jsonl(tmp_path / "x.jsonl", *rows)).groups("folder")
    assert groups is not None
    assert groups[0] == groups[1] != groups[2]


def test_rows_that_ask_the_same_count_once_and_are_said(tmp_path: Path) -> None:
    rows = [{"question": "q?", "answer": "x"}, {"question": "q?", "answer": "y"}, {"question": "p?", "answer": "y"}]
    source = opened("text", jsonl(tmp_path / "x.jsonl", *rows))
    assert source.taken.endswith("3 rows; 1 ask what another row asks; the first counts")
    assert len(Split(source, "all")) == 2


@pytest.mark.parametrize(
    ("name", "columns", "benchmark"),
    [
        ("MMBench_DEV_EN.tsv", ["question", "A", "B", "answer", "image"], "MMBench_DEV_EN"),
        ("mmstar.parquet", ["question", "answer"], "mmstar"),
        ("mine.tsv", ["question", "A", "B", "answer", "image"], ""),
        ("mine.tsv", ["question", "A", "B", "answer", "image", "l2-category"], "mine"),
        ("mmenagerie.jsonl", ["question", "answer"], ""),
        ("blinking.jsonl", ["question", "answer"], ""),
    ],
)
def test_benchmarks_are_known_by_name_or_layout(name: str, columns: list[str], benchmark: str) -> None:
    assert benchmark_of(name, columns) == benchmark


def test_a_benchmark_is_trained_on_only_by_name(tmp_path: Path) -> None:
    rows = [[f"What is {n}?", "cat", "dog", "A"] for n in range(40)]
    path = write_tsv(tmp_path / "MMStar.tsv", ["question", "A", "B", "answer"], *rows)
    asked = {"name": "x", "model": {"path": "embedded:tiny_vlm"}, "tasks": [{"task": "qa/choice", "data": path}]}
    with pytest.raises(Ssl4rlError, match=r"holds the items of the benchmark 'MMStar'.*say benchmark_data=\[MMStar\]"):
        open_recipe(make_recipe(asked))
    train, _ = open_recipe(make_recipe({**asked, "benchmark_data": ["MMStar"]}))
    assert train.components[0].split.source.benchmark == "MMStar"
    assert create_dataset("qa/choice", path, size=1, split="held_out")[0].answer in "AB"  # to measure on, always


def test_the_size_of_a_picture_is_that_of_the_upright_one(tmp_path: Path) -> None:
    image = Image.fromarray(np.zeros((20, 30, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    for name, kind in (("a.jpg", "JPEG"), ("a.png", "PNG"), ("a.tiff", "TIFF"), ("a.webp", "WEBP")):
        stream = io.BytesIO()
        image.save(stream, kind, exif=exif)
        (tmp_path / name).write_bytes(stream.getvalue())
        source = opened("text", jsonl(tmp_path / "x.jsonl", {"question": "?", "answer": "a", "image": name}))
        (item,) = items(source)
        assert (item.photos[0].size_px(), item.photos[0].decode(99).size) == ((20, 30), (20, 30)), name
