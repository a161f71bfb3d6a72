"""Hostile tar, TSV and parquet files, and what braces and paths may be made to name."""

from __future__ import annotations

import base64
import gzip
import io
import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

from tests.hostile.corpus import SECRET, Corpus, encode, lengthen, noise

GIB = 2**30


def make(corpus: Corpus, cuts: int = 9, flips: int = 12) -> None:
    pictures = {f"{seed}.{kind.lower()}": encode(noise(seed), kind) for seed, kind in enumerate(("PNG", "JPEG"))}
    _pipes(corpus)
    _tar(corpus, pictures, cuts, flips)
    _tsv(corpus, pictures, cuts, flips)
    _parquet(corpus, pictures, cuts, flips)
    _braces(corpus)


def _pipes(corpus: Corpus) -> None:
    """Every scheme pointed at what is no regular file, and at files of other schemes."""
    for scheme in ("tar", "tsv", "parquet", "hf", "folder"):
        for name in ("pipe", "socket_folder", "zero", "random", "tty", "memory", "nothing", "sysfs"):
            folder = corpus.folder("device", f"{scheme}-{name}")
            device = {"zero": "/dev/zero", "random": "/dev/urandom", "tty": "/dev/tty", "memory": "/proc/self/mem"}
            device |= {"nothing": "/dev/null", "sysfs": "/proc/self/environ"}
            path = folder / f"x.{'parquet' if scheme == 'hf' else scheme}"
            if name == "pipe":
                os.mkfifo(path)
            elif name == "socket_folder":
                os.mkfifo(folder / "state.json")
                os.mkfifo(folder / "x.png")
            else:
                path.symlink_to(device[name])
            within = scheme in ("hf", "folder") or name == "socket_folder"
            corpus.add("device", folder.name[7:], f"{scheme}:{folder if within else path}")
            corpus.add("device", f"{folder.name[7:]}-itself", f"{scheme}:{device.get(name, path)}")


def _member(name: str, data: bytes, **fields: object) -> bytes:
    """One tar member with any header field set by hand: size=-1024, typeflag=b"x", ..."""
    info = tarfile.TarInfo(name)
    info.size = len(data)
    head = bytearray(info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")[:512])
    size, kind = fields.get("size"), fields.get("typeflag")
    if isinstance(size, int):
        head[124:136] = (size % 256**12).to_bytes(12, "big") if size < 0 else b"\x80" + size.to_bytes(11, "big")
    if isinstance(kind, bytes):
        head[156:157] = kind
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    return bytes(head) + data + bytes(-len(data) % 512)


def _tar(corpus: Corpus, pictures: dict[str, bytes], cuts: int, flips: int) -> None:
    png = pictures["0.png"]
    good = b"".join(_member(name, data) for name, data in pictures.items())
    corpus.damaged("tar", "good", "tar", "x.tar", good + bytes(1024), cuts, flips)
    for size in (-1, -512, -1024, -(2**40), 2**40, 2**62):
        corpus.file("tar", f"size{size}", "tar", "x.tar", _member("a.png", png, size=size) + good, bomb=True)
    for kind in b"123456":
        corpus.file("tar", f"type{kind - 48}", "tar", "x.tar", _member("a.png", png, typeflag=bytes([kind])) + good)
    names = [
        "../../outside/secret.png",
        "/etc/passwd.png",
        f"{corpus.root}/{SECRET}/secret.png",
        "a\nb.png",
        "a\0b.png",
    ]
    names += ["x" * 90 + ".png", ".hidden.png", "\udcff.png", "..png", "a/../b.png", "C:\\x.png", "con.png"]
    for number, name in enumerate(names):
        corpus.file("tar", f"name{number:02}", "tar", "x.tar", _member(name, png) + good)
    for kind, name in [(b"x", "pax"), (b"L", "long_name"), (b"K", "long_link"), (b"g", "global"), (b"S", "sparse")]:
        data = _member("header", b"", typeflag=kind, size=3 * GIB)
        lengthen(corpus.file("tar", f"{name}_3gb", "tar", "x.tar", data, bomb=True), 3 * GIB + 4096)
    lengthen(
        corpus.file("tar", "member_3gb", "tar", "x.tar", _member("a.png", b"", size=3 * GIB), bomb=True), 3 * GIB + 4096
    )
    deep = b"".join(_member("h", b"11 path=a.x\n", typeflag=b"x") for _ in range(20_000))
    corpus.file("tar", "pax_chain", "tar", "x.tar", deep + good, bomb=True)
    corpus.file("tar", "many_members", "tar", "x.tar", _member("a.png", b"") * 60_000 + good, bomb=True)
    lengthen(corpus.file("tar", "tail", "tar", "x.tar", good, bomb=True), 3 * GIB)
    lengthen(corpus.file("tar", "zeros", "tar", "x.tar", b"", bomb=True), 3 * GIB)
    for kind in ("gz", "bz2", "xz"):
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode=f"w:{kind}") as archive:  # type: ignore[call-overload]
            archive.addfile(tarfile.TarInfo("a.png"), io.BytesIO())
        corpus.file("tar", f"packed_{kind}", "tar", "x.tar", stream.getvalue())
    corpus.file("tar", "gz_bomb", "tar", "x.tar", gzip.compress(bytes(2**28), 1), bomb=True)


def _line(*fields: str) -> bytes:
    return "\t".join(fields).encode("utf-8", "surrogateescape") + b"\n"


def _tsv(corpus: Corpus, pictures: dict[str, bytes], cuts: int, flips: int) -> None:
    png, jpeg = (base64.b64encode(data).decode() for data in pictures.values())
    table = _line("index", "image") + _line("0", png) + _line("1", f'"[""{png}"", ""{jpeg}""]"') + _line("2", "0")
    corpus.damaged("tsv", "good", "tsv", "x.tsv", table, cuts, flips)
    tiny = base64.b64encode(encode(noise(0, 8, 8), "PNG")).decode()
    paths = ["../outside/secret.png", f"{corpus.root}/{SECRET}/secret.png", "/dev/zero", "/etc/passwd", "pipe.png", ""]
    paths += [
        "link.png",
        "\0",
        "a" * 5000,
        "[" * 50_000,
        '["good.png", "good.png"',
        '[1, null, {"a": 2}]',
        "['good.png']",
    ]
    paths += [
        "[" * 50_000 + "]" * 50_000,
        '["' + "\\ud800" + '.png"]',
        "[" + "9" * 6000 + "]",
        "[]",
        "[[]]",
        "[NaN]",
        "{}",
    ]
    paths += [
        "socket",
        ".",
        "..",
        "//",
        "file:///etc/passwd",
        "http://127.0.0.1:1/x.png",
        "~/x.png",
        "good.png/",
        "sub",
    ]
    for number, path in enumerate(paths):
        folder = corpus.folder("tsv", f"path{number:02}")
        os.mkfifo(folder / "pipe.png")
        (folder / "good.png").write_bytes(pictures["0.png"])
        (folder / "link.png").symlink_to(f"../{SECRET}/secret.png")
        (folder / "sub").mkdir()
        (folder / "x.tsv").write_bytes(_line("index", "image_path") + _line("0", path) + _line("1", "good.png"))
        corpus.add("tsv", f"path{number:02}", f"tsv:{folder}/x.tsv")
    for name, data in _odd_tables(png):
        corpus.file("tsv", name, "tsv", "x.tsv", data)
    head = _line("index", "image")
    crowd = json.dumps([tiny] * 200_000)
    bombs = {
        "crowd": head + _line("0", crowd),
        "crowd_of_paths": _line("index", "image_path") + _line("0", json.dumps(["x.png"] * 200_000)),
        "references": head
        + _line("0", json.dumps([tiny] * 3000))
        + b"".join(_line(str(n), "0") for n in range(1, 100_000)),
        "columns": b"image\t" * 3_000_000 + b"\n",
        "rows": head + b"0\t\n" * 1_000_000,
        "commas": head + _line("0", "[" + "," * 20_000_000 + "]"),
        "quotes": head + b'0\t"' + b'""' * 10_000_000 + b"\n",
        "quoted_lines": head + b'0\t"' + b"\n" * 5_000_000,
        "reference_ring": head + b"".join(_line(str(n), str(n + 1)) for n in range(200_000)),
    }
    for name, data in bombs.items():
        corpus.file("tsv", f"bomb_{name}", "tsv", "x.tsv", data, bomb=True)
    for name, data in {"zeros": b"", "zeros_in_row": head + b"0\t", "zeros_in_quotes": head + b'0\t"'}.items():
        lengthen(corpus.file("tsv", f"bomb_{name}", "tsv", "x.tsv", data, bomb=True), 3 * GIB)


def _odd_tables(png: str) -> Iterator[tuple[str, bytes]]:
    yield "empty", b""
    yield "header", _line("index", "image")
    yield "no_header", _line("0", png)
    yield "twice", _line("image", "image") + _line(png, png)
    yield "nul", _line("index", "image") + _line("0", png[:100] + "\0" + png[100:])
    yield "utf16", (_line("index", "image") + _line("0", png)).decode().encode("utf-16")
    yield "latin1", b"index\timage\nZ\xfcrich\t" + png.encode() + b"\n"
    yield "open_quote", _line("index", "image") + b'0\t"' + png.encode() + b"\n" + _line("1", png)
    yield "data_url", _line("index", "image") + _line("0", "data:" + "x" * 100) + _line("1", "data:,")
    yield "itself", _line("index", "image") + _line("0", "0")
    yield "text", _line("index", "image") + _line("0", base64.b64encode(b"Dear diary" * 20).decode())
    yield "carriage", b"index\timage\r0\t" + png.encode() + b"\r"


def _parquet(corpus: Corpus, pictures: dict[str, bytes], cuts: int, flips: int) -> None:
    import pyarrow as arrow
    from pyarrow import parquet

    def write(columns: object, **options: object) -> bytes:
        stream = io.BytesIO()
        parquet.write_table(arrow.table(columns), stream, **options)
        return stream.getvalue()

    png, jpeg = pictures.values()
    corpus.damaged("parquet", "good", "parquet", "x.parquet", write({"image": [png, jpeg]}), cuts, flips)
    lists = write({"image": [[{"bytes": png, "path": None}], [], None, [{"bytes": None, "path": "x"}]]})
    corpus.damaged("parquet", "lists", "parquet", "x.parquet", lists, cuts, flips)
    secret = str(corpus.root / SECRET / "secret.png")
    for number, path in enumerate(
        ["pipe.png", "../outside/secret.png", secret, "/dev/zero", "link.png", "\0", ".", "socket"]
    ):
        folder = corpus.folder("parquet", f"path{number}")
        os.mkfifo(folder / "pipe.png")
        (folder / "link.png").symlink_to(secret)
        cells = [{"bytes": None, "path": path}, {"bytes": png, "path": path}]
        (folder / "x.parquet").write_bytes(write({"image": cells}))
        for scheme, place in (("parquet", folder / "x.parquet"), ("hf", folder)):
            corpus.add("parquet", f"path{number}-{scheme}", f"{scheme}:{place}")
    odd = {"text": ["a"], "none": [None], "ints": [1], "lists_of_ints": [[1]], "nothing": []}
    for name, column in odd.items():
        corpus.file("parquet", f"odd_{name}", "parquet", "x.parquet", write({"image": column}))
        folder = corpus.file("parquet", f"odd_{name}-asked", "parquet", "x.parquet", write({"image": column})).parent
        corpus.add("parquet", f"odd_{name}-column", f"parquet:{folder}/x.parquet?column=image")
    tiny, large = encode(noise(0, 8, 8), "PNG"), encode(noise(7, 700, 700), "PNG")
    bombs = {
        "crowd": write({"image": [[tiny] * 300_000]}),
        "dictionary": write({"image": arrow.array([large] * 4000)}, dictionary_pagesize_limit=2**24),
        "dictionary_lists": write({"image": arrow.array([[large] * 10] * 400)}, dictionary_pagesize_limit=2**24),
        "zeros": write({"image": [bytes(2**28)] * 8}, compression="zstd", use_dictionary=False),
        "groups": write({"image": [tiny] * 20_000}, row_group_size=1),
    }
    for name, data in bombs.items():
        corpus.file("parquet", f"bomb_{name}", "parquet", "x.parquet", data, bomb=True)
    for name in ("dictionary", "crowd"):
        path = corpus.folder("parquet", f"hf_{name}") / "train.parquet"
        path.write_bytes(bombs[name])
        corpus.add("parquet", f"hf_{name}", f"hf:{path.parent}", bomb=True)
    lengthen(corpus.file("parquet", "tail", "parquet", "x.parquet", bombs["crowd"], bomb=True), 3 * GIB)


def _braces(corpus: Corpus) -> None:
    texts = [
        "{a,b}" * 40,
        "{0..9999999999}",
        "{0..99999}" * 4,
        "{" + "," * 200_000 + "}",
        "{" * 5000,
        "{a," * 3000 + "}" * 3000,
    ]
    texts += [
        "{0.." + "9" * 6000 + "}",
        "{9..0}",
        "{,}" * 17,
        "{a,b}" * 16,
        "*" * 2000,
        "**/" * 40 + "*.tar",
        "\0",
        "[" * 100,
    ]
    texts += [
        "{0..0}",
        "{00..100000}",
        "{a,b}{c}{,}",
        "x?column=image",
        "x?colum=y",
        "~nobody/x",
        "%",
        "../*.tar",
        "-",
        "//",
    ]
    for number, text in enumerate(texts):
        for scheme in ("tar", "parquet", "tsv", "folder"):
            folder = Path(corpus.root) / "nowhere"
            corpus.add("braces", f"{scheme}-{number:02}", f"{scheme}:{folder}/{text}")
