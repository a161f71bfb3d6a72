"""A real server of vLLM's: whole weights by its reloading call, adapters by its loading call, pictures by its chat."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from ssl4rl.core.types import Ssl4rlError
from tests.with_vllm.cases import differences, opened, sampled

pytestmark = pytest.mark.vllm

Tiny = Callable[[str], Path]
ENVIRONMENT = {
    "VLLM_SERVER_DEV_MODE": "1",
    "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "OMP_NUM_THREADS": "1",
}


@contextmanager
def serving(folder: Path, *options: str) -> Iterator[tuple[str, Path]]:
    """The address of a server of the model in `folder`, once it answers, and its log."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log_path = folder / f"server-{port}.log"
    command: Sequence[str] = [
        *(sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(folder), "--dtype", "float32"),
        *("--port", str(port), "--host", "127.0.0.1", "--enforce-eager", "--max-model-len", "268"),
        *("--no-enable-chunked-prefill", "--max-num-batched-tokens", "4096", *options),
    ]
    log = log_path.open("w")
    child = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=os.environ | ENVIRONMENT)
    url = f"http://127.0.0.1:{port}"
    try:
        while True:
            assert child.poll() is None, log_path.read_text()[-3000:]
            try:
                urlopen(f"{url}/health", timeout=5).close()
                break
            except OSError:
                time.sleep(1)
        yield url, log_path
    finally:
        child.terminate()
        child.wait(60)
        log.close()


def agrees_also_after_an_update(trainer: Any) -> None:
    before = sampled(trainer)
    assert differences(trainer, before).max() < 1e-4
    trainer.run_step()
    assert differences(trainer, before).max() > 1e-2
    after = sampled(trainer)
    assert differences(trainer, after).max() < 1e-4
    metrics, _ = trainer.run_step()
    assert metrics["importance"]["mean"] == pytest.approx(1, abs=1e-4)


def test_text_by_adapter_on_two_servers(tiny: Tiny, tmp_path: Path) -> None:
    warm = {"warmup": {"steps": 1, "lr": 0.01}, "grpo": {"beta": 0.01}, "text": True}
    lora, takes = {"r": 4, "alpha": 8}, ("--enable-lora", "--max-lora-rank", "8")
    with serving(tiny("llama"), *takes) as (url, log), serving(tiny("llama"), *takes) as (other, other_log):
        section = {"mode": "server", "urls": [url, other], "lora": "adapter"}
        trainer = opened(tmp_path / "adapter", tiny("llama"), model={"lora": lora}, vllm=section, **warm)
        agrees_also_after_an_update(trainer)
        assert [p.name for p in trainer.backend.folder.iterdir()] == [f"adapter-{trainer.backend.updates}"]
        trainer.backend.close()
        asked = [one.read_text().count('"POST /v1/completions') for one in (log, other_log)]
        assert asked == [6, 3]  # three prompts in turn, three times
        long = {"vllm": {"mode": "server", "urls": [url]}, "prompt": {"max_tokens": 2000}, "text": True}
        with pytest.raises(Ssl4rlError, match=r"a server takes 268 tokens, .* are 2012; start it with --max-model-len"):
            opened(tmp_path / "long", tiny("llama"), **long)


def test_pictures_by_whole_weights(tiny: Tiny, tmp_path: Path) -> None:
    with serving(tiny("idefics3")) as (url, _):
        section = {"mode": "server", "urls": [url]}
        warm = {"warmup": {"steps": 1, "lr": 0.01}, "grpo": {"beta": 0.01}}
        agrees_also_after_an_update(opened(tmp_path, tiny("idefics3"), vllm=section, **warm))
