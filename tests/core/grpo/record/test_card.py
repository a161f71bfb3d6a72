"""The model card in final/, and its upload to an endpoint of our own."""

from __future__ import annotations

import base64
import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from ssl4rl import Ssl4rlError, cli
from ssl4rl.core.grpo.record.card import model_card
from ssl4rl.tools.push import push
from tests.core.grpo.runs import recipe, run

FIGURES = {"accuracy": 0.25, "ci95": [0.2, 0.31], "chance": 0.25, "unparsed": 0.5, "truncated": 0.0, "n": 400}
SUMMARY: dict[str, Any] = {
    "name": "turned",
    "task": "vision/rotation@1[90deg]",
    "data": ["photos/", "sample:"],
    "model": "some/model-3b",
    "engine": "native",
    "seconds": 61.0,
    "steps": 7,
    "seed": 0,
    "before": FIGURES,
    "after": {**FIGURES, "accuracy": 0.75, "ci95": [0.70, 0.79]},
    "tasks": {},
    "versions": {"torch": "2.9.0"},
}
RECIPE = {"name": "turned", "out": "/home/somebody/runs", "benchmark_data": ["MMStar"]}


def test_a_card_says_what_was_trained_on_what_and_what_came_of_it() -> None:
    text = model_card(SUMMARY, RECIPE, {"sample:": "CC0"}, adapter=True)
    front = yaml.safe_load(text.split("---\n")[1])
    assert front == {"base_model": "some/model-3b", "library_name": "peft", "tags": ["ssl4rl", "grpo"]}
    for line in [
        "| all | before | 0.250 | 0.200-0.310 | 0.25 | 0.500 | 0.000 | 400 |",
        "| all | after | 0.750 | 0.700-0.790 | 0.25 | 0.500 | 0.000 | 400 |",
        "- `photos/`: licence not known here",
        "- `sample:`: licence CC0",
        "Items of benchmarks were trained on: MMStar. Scores on them say less.",
        "torch 2.9.0",
    ]:
        assert line in text
    assert "somebody" not in text
    assert "base_model" not in model_card({**SUMMARY, "model": "/models/mine"}, RECIPE, {}, adapter=False)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A run without a terminal, and what it said."""
    settings = recipe(tmp_path_factory.mktemp("runs"), train={"steps": 4, "say_every": 2}, data="sample:", min_items=1)
    return settings.folder, run(settings)


def test_a_finished_run_has_one_and_lines_were_said(trained: tuple[Path, list[str]]) -> None:
    folder, said = trained
    text = (folder / "final" / "README.md").read_text()
    assert "licence public domain, CC0 or CC BY" in text
    assert "vision/rotation@" in text
    assert [line.split(":")[0] for line in said if line.startswith("GRPO step")] == [
        "GRPO step 2 of 4",
        "GRPO step 4 of 4",
    ]


class _Hub(BaseHTTPRequestHandler):
    """As much of a model hub as an upload asks for; large files go by the LFS protocol."""

    log: dict[str, Any]

    def log_message(self, *args: Any) -> None:
        """Says nothing."""

    def _answer(self, record: Any, status: int = 200) -> None:
        body = json.dumps(record).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        here = f"http://127.0.0.1:{self.server.server_address[1]}"
        if self.path == "/api/repos/create":
            self.log["made"] = json.loads(body)
            if self.headers["Authorization"] != "Bearer hf_test":
                return self._answer({"error": "who are you?"}, 401)
            return self._answer({"url": f"{here}/me/it", "name": "me/it"})
        if self.path == "/api/validate-yaml":
            self.log["card"] = json.loads(body)["content"]
            return self._answer({"errors": [], "warnings": []})
        if "/preupload/" in self.path:
            files = json.loads(body)["files"]
            modes = ["lfs" if file["path"].endswith(".safetensors") else "regular" for file in files]
            found = [
                {"path": file["path"], "uploadMode": mode, "shouldIgnore": False, "oid": None}
                for file, mode in zip(files, modes, strict=True)
            ]
            return self._answer({"files": found})
        if self.path.endswith("/objects/batch"):
            objects = json.loads(body)["objects"]
            actions = {"upload": {"href": f"{here}/put", "header": {}}}
            return self._answer({"transfer": "basic", "objects": [{**o, "actions": actions} for o in objects]})
        if "/commit/" in self.path:
            self.log["commit"] = [json.loads(line) for line in body.splitlines()]
            return self._answer({"success": True, "commitOid": "0" * 40, "commitUrl": f"{here}/me/it/commit/0"})
        return self._answer({"error": self.path}, 404)

    def do_PUT(self) -> None:
        self.log["put"] = self.rfile.read(int(self.headers["Content-Length"]))
        self._answer({})

    def do_GET(self) -> None:
        if self.headers["Authorization"] != "Bearer hf_test":
            return self._answer({"error": "who are you?"}, 401)
        return self._answer({"id": "me/it", "sha": "0" * 40, "siblings": []})


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    log: dict[str, Any] = {}
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Hub", (_Hub,), {"log": log}))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_address[1]}")
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", os.environ["HF_ENDPOINT"])  # read when it was imported
    monkeypatch.setenv("HF_TOKEN", "hf_test")
    for name in ("HF_HUB_OFFLINE", "HF_HUB_DISABLE_XET"):
        monkeypatch.setattr(f"huggingface_hub.constants.{name}", name.endswith("XET"))
    yield log
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # the hub's client and its HTTP library
def test_push_uploads_model_and_card(trained: tuple[Path, list[str]], hub: dict[str, Any]) -> None:
    folder, _ = trained
    found = push(folder, "me/it", private=True)
    assert found.url is not None
    assert hub["made"]["name"] == "it"
    assert hub["made"].get("private", hub["made"].get("visibility")) in (True, "private")
    sent = {line["value"]["path"]: line["value"] for line in hub["commit"] if line["key"] in ("file", "lfsFile")}
    assert sent.keys() == found.files.keys()
    assert "checksums.json" not in sent
    assert base64.b64decode(sent["README.md"]["content"]) == (folder / "final" / "README.md").read_bytes()
    assert hub["put"] == (folder / "final" / "model.safetensors").read_bytes()


def test_push_says_in_one_line_what_is_wrong(
    trained: tuple[Path, list[str]], hub: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = trained
    for where, repo, message in [
        (tmp_path, "me/it", "has no final/"),
        (folder, "it", "repository 'it'"),
    ]:
        with pytest.raises(Ssl4rlError, match=message):
            push(where, repo)
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(Ssl4rlError, match=r"cannot push to me/it: .*401") as caught:
        push(folder, "me/it")
    assert "\n" not in str(caught.value)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    with pytest.raises(Ssl4rlError, match="cannot push to me/it"):
        push(folder, "me/it")
    assert "commit" not in hub


def test_a_dry_run_sends_nothing(trained: tuple[Path, list[str]], capsys: pytest.CaptureFixture[str]) -> None:
    folder, _ = trained
    assert cli.run(["push", str(folder), "me/it", "--dry-run", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert {"README.md", "model.safetensors", "config.json"} <= record["files"].keys()
    assert record["url"] is None
