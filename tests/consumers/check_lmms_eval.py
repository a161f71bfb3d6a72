"""lmms-eval: its task manager reads the folder's YAML, and its evaluator asks a server on this machine through the
model `openai`; the server answers with the replies, and the log has what each was paid."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.consumers.common import Ran, main
from tests.consumers.tiny import without_torchvision


def check(folder: Path, replies: Sequence[tuple[int, str]]) -> Ran:
    without_torchvision()
    os.chdir(folder)
    turn, asked = [0], []
    rows = {row: [reply for at, reply in replies if at == row] for row, _ in replies}
    row_of: dict[str, int] = {}

    class Server(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append(sent["messages"])
            text = rows[row_of[_texts_and_sizes(sent["messages"])]][turn[0]]
            choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
            usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
            body = {
                "id": "1",
                "object": "chat.completion",
                "created": 0,
                "model": "m",
                "choices": [choice],
                "usage": usage,
            }
            data = json.dumps(body).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *others: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    os.environ.update(OPENAI_API_KEY="none", OPENAI_API_BASE=f"http://127.0.0.1:{server.server_address[1]}/v1")

    from lmms_eval.evaluator import simple_evaluate
    from lmms_eval.protocol import ChatMessages
    from lmms_eval.tasks import TaskManager

    from ssl4rl.export.lmms_eval import doc_to_messages

    name = next(folder.glob("*.yaml")).stem
    manager = TaskManager(include_path=str(folder), include_defaults=False, model_name="openai")
    task = manager.load_task_or_group([name])[name]
    docs = list(task.test_docs())
    for row, doc in enumerate(docs):
        row_of[_texts_and_sizes(ChatMessages(messages=doc_to_messages(doc)).to_openai_messages())] = row
    assert len(row_of) == len(docs)
    paid: dict[tuple[int, int], float] = {}
    for turn[0] in range(len(replies) // len(rows)):
        found = simple_evaluate(
            model="openai",
            model_args=f"model_version=m,base_url={os.environ['OPENAI_API_BASE']},api_key=none",
            tasks=[name],
            task_manager=manager,
            batch_size=1,
            log_samples=True,
        )
        samples = found["samples"][name]
        assert len(samples) == len(rows)
        for sample in samples:
            paid[sample["doc_id"], turn[0]] = float(sample["reward"])
    pictures = sum(
        part["type"] == "image_url" for messages in asked[: len(rows)] for m in messages for part in m["content"]
    )
    # and our own model through it, in a process without the stand-ins
    ours = [sys.executable, "-m", "ssl4rl", "bench", "embedded:tiny_vlm", "--lmms", str(folder), "-n", "8"]
    said = subprocess.run([*ours, "--max-new-tokens", "8"], capture_output=True, text=True, check=True).stdout
    assert "unparsed,none 1.0" in said, said  # its weights are random
    rewards = [paid[row, at] for row in range(len(rows)) for at in range(len(replies) // len(rows))]
    return Ran(
        "",
        "TaskManager, simple_evaluate with the model openai on a local server; ssl4rl bench --lmms FOLDER",
        len(docs),
        pictures,
        rewards,
    )


def _texts_and_sizes(messages: Any) -> str:
    """A question as one text: its parts in order, pictures by their data."""
    return json.dumps([part.get("text") or part["image_url"]["url"] for m in messages for part in m["content"]])


if __name__ == "__main__":
    main("lmms_eval", check)
