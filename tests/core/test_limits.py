"""Limits on what an input may ask for, and files that would hang whoever opens them."""

from __future__ import annotations

import gzip
import io
import os
import socket
from pathlib import Path

import pytest

from ssl4rl.core.limits import LIMITS, BoundedReader, Budget, limit, open_regular, require_regular, variable
from ssl4rl.core.types import Ssl4rlError


def test_the_environment_moves_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    assert variable("decoded_mib") == "SSL4RL_DECODED_MIB"
    assert limit("decoded_mib") == LIMITS["decoded_mib"][0] == 512
    monkeypatch.setenv("SSL4RL_DECODED_MIB", "3")
    assert (limit("decoded_mib"), Budget("u", "decoded_mib").allowed) == (3, 3 << 20)
    for wrong in ("0", "-1", "2.5", "", "9" * 30, "two"):
        monkeypatch.setenv("SSL4RL_DECODED_MIB", wrong)
        with pytest.raises(Ssl4rlError, match=r"^SSL4RL_DECODED_MIB='.*'; allowed: a whole number above 0 \(MiB that"):
            limit("decoded_mib")


def test_a_budget_ends_where_the_limit_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL4RL_DECODED_MIB", "1")
    budget = Budget("npz:a.npz", "decoded_mib")
    budget.spend(1 << 20)
    with pytest.raises(Ssl4rlError) as caught:
        budget.spend(1, "array 'x'")
    assert str(caught.value) == (
        "'npz:a.npz': array 'x' asks for more than allowed: 1 MiB that one input file may hold once it is decompressed "
        "or expanded; set SSL4RL_DECODED_MIB for more"
    )


def test_a_bomb_is_stopped_while_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """100 MiB of zeros in 100 kB: not more than a MiB and a buffer is decoded."""
    monkeypatch.setenv("SSL4RL_DECODED_MIB", "1")
    bomb = gzip.compress(bytes(100 << 20))
    budget = Budget("g", "decoded_mib")
    with io.BufferedReader(BoundedReader(gzip.GzipFile(fileobj=io.BytesIO(bomb)), budget)) as file:
        assert file.read(1 << 19) == bytes(1 << 19)
        with pytest.raises(Ssl4rlError, match=r"^'g': it asks for more than allowed: 1 MiB"):
            file.read()
    assert budget.spent <= (1 << 20) + (1 << 17)


@pytest.mark.parametrize("kind", ["a named pipe", "a socket", "a device", "a folder"])
def test_what_is_no_regular_file_is_never_opened(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = {"a device": Path("/dev/zero"), "a folder": tmp_path}.get(kind, tmp_path / "x")
    if kind == "a named pipe":
        os.mkfifo(path)
    if kind == "a socket":
        monkeypatch.chdir(tmp_path)  # a socket's path may hardly be longer than 100 characters
        with socket.socket(socket.AF_UNIX) as server:
            server.bind("x")
    link = tmp_path / "link"
    link.symlink_to(path)
    for name in (path, link):
        with pytest.raises(Ssl4rlError) as caught:
            open_regular("npz:x", name)
        assert str(caught.value) == f"'npz:x': {name.name} is {kind}; allowed: regular files"


def test_regular_files_open_and_missing_ones_are_left_to_the_opener(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"text")
    with open_regular("x", tmp_path / "a") as file:
        assert file.read() == b"text"
    require_regular("x", tmp_path / "none")
    with pytest.raises(FileNotFoundError):
        open_regular("x", tmp_path / "none")
