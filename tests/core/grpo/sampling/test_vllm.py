"""How vLLM is wired in: what it is handed and when, and what is refused. Against the real one: tests/with_vllm."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from ssl4rl.core.grpo.logps.prefix import Group, unshared_logps
from ssl4rl.core.grpo.model.policy import Encoded, load_policy
from ssl4rl.core.grpo.model.pretrained import Lora
from ssl4rl.core.grpo.opening import open_run
from ssl4rl.core.grpo.ranks import ALONE, Ranks
from ssl4rl.core.grpo.sampling.sampled import sampler_logps
from ssl4rl.core.grpo.sampling.sampler import Sampling
from ssl4rl.core.grpo.sampling.vllm.colocate import Colocated, engine_arguments
from ssl4rl.core.grpo.sampling.vllm.opened import check, open_vllm
from ssl4rl.core.grpo.sampling.vllm.requests import logprobs_mode, seed_of
from ssl4rl.core.grpo.sampling.vllm.weights import check_adapter, link_weights, whole_weights
from ssl4rl.core.grpo.trainer import Trainer
from ssl4rl.core.types import Ssl4rlError
from ssl4rl.embedded.models import build
from tests.core.grpo.runs import metrics, recipe, run
from tests.core.grpo.sampling.fake_vllm import LLM, install

Tiny = Callable[[str], Path]
Opened = Callable[..., Trainer]
VLLM = {"backend": "vllm", "max_new_tokens": 4}


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> type[LLM]:
    return install(monkeypatch)


@pytest.fixture
def opened() -> Iterator[Callable[..., Trainer]]:
    """Opens runs, whose engines are closed after the test."""
    kept: list[Trainer] = []

    def open_one(out: Path, path: Path, **sections: Any) -> Trainer:
        made = recipe(out, path, text=True, sampling=VLLM, **sections)
        kept.append(open_run(made, ALONE, "cpu", lambda line: None, lambda run, ranks: None).trainer)
        return kept[-1]

    yield open_one
    for trainer in kept:
        trainer.backend.close()


def gap(trainer: Trainer) -> float:
    """The largest difference of a log-prob between sampler and policy, of a fresh sample."""
    rollouts = trainer.sample(trainer.stream.take(2))
    theirs_PGT = sampler_logps(rollouts.completions)
    assert theirs_PGT is not None
    pairs = zip(rollouts.prompts, rollouts.completions, strict=True)
    groups = [Group(p.encoded.prompt_ids, {}, [c.ids for c in row]) for p, row in pairs]
    with torch.no_grad():
        ours = unshared_logps(trainer.policy.model, groups)
    return float((theirs_PGT - ours.logp_PGT).abs()[ours.mask_PGT].max())


@pytest.mark.parametrize("lora", [None, {"r": 4, "alpha": 64}])
def test_weights_are_handed_over_after_each_update_and_only_then(
    tiny: Tiny, tmp_path: Path, fake: type[LLM], opened: Opened, lora: Any
) -> None:
    warm = {"steps": 2, "lr": 0.05}
    trainer = opened(tmp_path, tiny("llama"), model={"lora": lora}, warmup=warm, grpo={"beta": 0.1})
    (llm,) = fake.made
    assert llm.calls == ["load", "generate"]  # one token at the start: whether the model can be sampled at all
    assert "model.safetensors" in llm.files
    for _ in range(2):
        trainer.run_step()
    assert gap(trainer) < 1e-4
    assert gap(trainer) < 1e-4
    assert llm.calls[2:] == ["reload", "_pack_heads", "reset", "generate", "generate"]
    found, _ = trainer.run_step()
    assert found["importance"]["mean"] == pytest.approx(1, abs=1e-5)
    assert gap(trainer) < 1e-4
    assert llm.calls[7:] == ["generate", "reload", "_pack_heads", "reset", "generate"]


def test_it_sleeps_from_the_update_until_it_is_asked_again(
    tiny: Tiny, tmp_path: Path, fake: type[LLM], opened: Opened
) -> None:
    trainer = opened(tmp_path, tiny("llama"))
    assert isinstance(trainer.backend, Colocated)
    trainer.backend.sleeps = True  # as on a GPU
    (llm,) = fake.made
    gap(trainer)
    trainer.backend.release()
    trainer.backend.release()
    gap(trainer)
    assert llm.calls == [
        *("load", "generate", "reload", "_pack_heads", "reset", "generate"),
        *("sleep 1", "wake", "reload", "_pack_heads", "reset", "generate"),
    ]


def test_whole_runs_repeat_and_evaluate_with_it(tiny: Tiny, tmp_path: Path, fake: type[LLM]) -> None:
    logs = []
    for name in "ab":
        learns = {"warmup": {"steps": 1, "lr": 0.05}, "grpo": {"beta": 0.1}, "train": {"steps": 2}}
        said = run(recipe(tmp_path / name, tiny("llama"), text=True, sampling=VLLM, eval={"n": 2}, **learns))
        assert any(line.startswith("held out, after 2 steps") for line in said)
        logs.append([line for line in metrics(tmp_path / name / "run") if line["phase"] == "train"])
    assert logs[0] == logs[1]
    assert len(logs[0]) == 2
    assert any(line["loss"] for line in logs[0])
    assert [llm.calls.count("generate") for llm in fake.made] == [5, 5]  # at the start, two steps, two evaluations


def test_another_prompt_than_ours_is_refused(tiny: Tiny, tmp_path: Path, fake: type[LLM], opened: Opened) -> None:
    trainer = opened(tmp_path, tiny("llama"))
    fake.made[0].spoil = True
    with pytest.raises(Ssl4rlError, match=r"another prompt of it than ours \(\d+ tokens, ours \d+; the first diff"):
        trainer.sample(trainer.stream.take(1))


def test_engine_arguments(tiny: Tiny, tmp_path: Path) -> None:
    policy = load_policy(str(tiny("llama")), device="cpu")
    made = recipe(tmp_path, tiny("llama"), text=True, sampling={**VLLM, "temperature": 0.7}, vllm={"max_num_seqs": 7})
    found = engine_arguments(made, policy, tmp_path, 1)
    assert found["max_model_len"] == 1028  # prompt.max_tokens + sampling.max_new_tokens
    assert (found["dtype"], found["max_num_seqs"], found["logprobs_mode"]) == ("float32", 7, "processed_logprobs")
    assert found["kv_cache_memory_bytes"] == 2**30
    assert "gpu_memory_utilization" not in found
    assert logprobs_mode(1.0) == "raw_logprobs"
    assert engine_arguments(made, policy, tmp_path, 2)["distributed_executor_backend"] == "external_launcher"
    lora = load_policy(str(tiny("llama")), lora=Lora(r=12), device="cpu")
    made = recipe(tmp_path, tiny("llama"), text=True, sampling=VLLM, vllm={"lora": "adapter"})
    found = engine_arguments(made, lora, tmp_path, 1)
    assert (found["enable_lora"], found["max_lora_rank"]) == (True, 16)


def test_seeds_are_a_function_of_the_key() -> None:
    rows = np.array([[0.25, 0.5], [0.75, 0.1]])
    assert seed_of(lambda p, g: rows[p], 0, Sampling()) == 2**51
    assert seed_of(lambda p, g: rows[p], 1, Sampling()) == 3 * 2**51
    assert seed_of(None, 0, Sampling(temperature=0)) is None


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"max_num_seq": 8}, "unknown key 'vllm.max_num_seq': .*; did you mean 'max_num_seqs'?"),
        ({"memry": 0.2}, "unknown key 'vllm.memry': .*; did you mean 'memory'?"),
        ({"seed": 1}, r"vllm\.seed: the recipe's train\.seed sets it"),
        ({"tensor_parallel": 2}, r"vllm\.tensor_parallel=2 with 2 processes"),
    ],
)
def test_what_is_refused_before_a_model_is_loaded(
    tmp_path: Path, fake: type[LLM], section: dict[str, Any], message: str
) -> None:
    with pytest.raises(Ssl4rlError, match=message):
        check(recipe(tmp_path, sampling=VLLM, vllm=section), 2)


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"vllm": {"memory": 0.5}}, "section vllm is read with sampling.backend=vllm"),
        ({"sampling": VLLM, "vllm": {"mode": "server"}}, "mode server needs urls"),
        ({"sampling": VLLM, "vllm": {"urls": ["http://a"]}}, "urls are read by mode server"),
        ({"sampling": VLLM, "vllm": {"mode": "server", "urls": ["a:1"]}}, "'a:1' is no http address"),
        ({"sampling": VLLM, "vllm": {"mode": "server", "urls": ["http://a"], "dtype": "auto"}}, "given to a server"),
        ({"sampling": {"backend": "vlm"}}, "sampling.backend"),
        ({"grpo": {"importance_cap": 0}}, "grpo.importance_cap"),
    ],
)
def test_recipes_that_say_two_things(tmp_path: Path, sections: dict[str, Any], message: str) -> None:
    with pytest.raises(Ssl4rlError, match=message):
        recipe(tmp_path, **sections)


@pytest.mark.skipif(find_spec("vllm") is not None, reason="vLLM is here")
def test_without_vllm_it_is_one_line_before_a_model_is_loaded(tmp_path: Path) -> None:
    with pytest.raises(Ssl4rlError, match=r"needs vllm, which is not installed: pip install 'ssl4rl\[train,vllm\]'"):
        run(recipe(tmp_path, "no/such/model", sampling=VLLM))
    assert not (tmp_path / "run" / "recipe.yaml").exists()


def test_vllms_own_refusal_is_one_line(tiny: Tiny, tmp_path: Path, fake: type[LLM], opened: Opened) -> None:
    with pytest.raises(Ssl4rlError, match=r"sampling\.backend=vllm: vLLM refuses .*: max_num_seqs is too large"):
        opened(tmp_path, tiny("llama"), vllm={"max_num_seqs": 9000})


def test_what_vllm_refuses_at_a_prompt_is_said_before_the_warm_up(
    tiny: Tiny, tmp_path: Path, fake: type[LLM], opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: LLM, *asked: Any, **options: Any) -> None:
        raise RuntimeError("Unsupported CPU attention configuration: head_dim=24")

    monkeypatch.setattr(fake, "generate", refuse)
    with pytest.raises(Ssl4rlError, match=r"vLLM refuses .*llama: Unsupported CPU attention .*: head_dim=24"):
        opened(tmp_path, tiny("llama"))


def test_whole_weights_are_the_checkpoints(tiny: Tiny) -> None:
    for kind in ("llama", "qwen2_5_vl", "idefics3"):
        saved = load_file(tiny(kind) / "model.safetensors")
        with whole_weights(load_policy(str(tiny(kind)), device="cpu")) as found:
            assert found.keys() == saved.keys()
            assert all(torch.equal(found[name], saved[name]) for name in saved)
        lora = load_policy(str(tiny(kind)), lora=Lora(r=2, target="all-linear"), device="cpu")
        with whole_weights(lora) as found:
            assert found.keys() == saved.keys()


def test_an_engine_starts_from_the_models_own_weights(tiny: Tiny, tmp_path: Path) -> None:
    (tmp_path / "linked").mkdir()
    link_weights(load_policy(str(tiny("llama")), device="cpu"), tmp_path / "linked")
    (file,) = (tmp_path / "linked").iterdir()
    assert file.resolve() == (tiny("llama") / "model.safetensors").resolve()
    made = load_policy("embedded:tiny_llama", lora=Lora(r=2), device="cpu")
    with torch.no_grad():
        for name, weight in made.model.named_parameters():
            if "lora_B" in name:
                weight.fill_(1.0)
    link_weights(made, tmp_path / "made")
    saved = load_file(tmp_path / "made" / "model.safetensors")
    first, _ = build("tiny_llama")
    assert all(torch.equal(saved[name], weight) for name, weight in first.state_dict().items() if name in saved)
    assert "model.layers.0.self_attn.q_proj.weight" in saved


def test_adapters_that_cannot_be_handed_over(tiny: Tiny) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PEFT's of tied weights
        tied = load_policy(str(tiny("llama")), lora=Lora(r=2, target=["lm_head", "q_proj"]), device="cpu")
    with pytest.raises(Ssl4rlError, match=r"vllm.lora=merge: the adapter on '.*lm_head' \(Linear\) cannot be merged"):
        check_adapter(tied, "merge")
    check_adapter(tied, "adapter")
    seeing = load_policy(str(tiny("idefics3")), lora=Lora(r=2), device="cpu")
    with pytest.raises(Ssl4rlError, match=r"vllm.lora=adapter: vLLM applies no adapter within '.*vision_model'"):
        check_adapter(seeing, "adapter")
    check_adapter(seeing, "merge")
    check_adapter(load_policy(str(tiny("idefics3")), lora=Lora(r=2), freeze_vision=True, device="cpu"), "adapter")


class _Server(BaseHTTPRequestHandler):
    """Answers as vLLM's server does; keeps what it was asked in `seen` of the server."""

    def _answer(self, body: Any, code: int = 200) -> None:
        self.send_response(code)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def do_GET(self) -> None:
        self._answer({"data": [{"id": "base", "max_model_len": 4096}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.seen.append((self.path, body))  # type: ignore[attr-defined]
        if self.path in self.server.lacks:  # type: ignore[attr-defined]
            self._answer({"detail": "Not Found"}, 404)
        elif self.path != "/v1/completions":
            self._answer(None)
        else:
            choices = [
                {
                    "index": g,
                    "token_ids": [10 + g, body["stop_token_ids"][0]],
                    "prompt_token_ids": body["prompt"],
                    "logprobs": {"token_logprobs": [-0.5, -0.25 * g]},
                }
                for g in reversed(range(body["n"]))
            ]
            self._answer({"choices": choices})

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def servers() -> Iterator[list[Any]]:
    made: list[Any] = [ThreadingHTTPServer(("127.0.0.1", 0), _Server) for _ in range(2)]
    for server in made:
        server.seen, server.lacks = [], []
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield made
    for server in made:
        server.shutdown()
        server.server_close()


def served(tiny: Tiny, out: Path, servers: list[Any], trained: Lora | None = None, **section: Any) -> Any:
    urls = [f"http://127.0.0.1:{server.server_address[1]}" for server in servers]
    made = recipe(out, tiny("llama"), text=True, sampling=VLLM, vllm={"mode": "server", "urls": urls, **section})
    policy = load_policy(str(tiny("llama")), lora=trained, device="cpu")
    return open_vllm(made, policy, Ranks(), made.folder)


def test_servers_are_asked_in_turn_and_read_whole_weights(tiny: Tiny, tmp_path: Path, servers: list[Any]) -> None:
    backend = served(tiny, tmp_path, servers)
    prompts = [Encoded(torch.tensor([3, 4 + p])) for p in range(3)]
    found = backend.complete(prompts, 2, Sampling(max_new_tokens=4), lambda p, g: np.array([0.5 + p / 8]))
    assert [[c.ids.tolist()[0] for c in row] for row in found] == [[10, 11]] * 3
    assert found[0][1].logp.tolist() == [-0.5, -0.25]
    assert not found[0][0].truncated
    weights = str(tmp_path / "run" / "vllm")
    for server, asked in zip(servers, ([[3, 4], [3, 6]], [[3, 5]]), strict=True):
        assert server.seen[:2] == [
            ("/collective_rpc", {"method": "reload_weights", "kwargs": {"weights_path": weights}}),
            ("/reset_prefix_cache", {}),
        ]
        assert sorted(body["prompt"] for _, body in server.seen[2:]) == asked
    body = servers[1].seen[2][1]
    assert (body["model"], body["n"], body["seed"], body["repetition_penalty"]) == ("base", 2, 5 * 2**50, 1.0)
    assert set(body["logit_bias"].values()) == {-100.0}
    backend.complete(prompts, 2, Sampling(temperature=0, max_new_tokens=4))
    assert [path for path, _ in servers[0].seen].count("/collective_rpc") == 1
    backend.close()
    assert not (tmp_path / "run" / "vllm").exists()


def test_servers_load_each_updates_adapter_by_a_new_name(tiny: Tiny, tmp_path: Path, servers: list[Any]) -> None:
    backend = served(tiny, tmp_path, servers[:1], Lora(r=2), lora="adapter")
    for _ in range(2):
        backend.complete([Encoded(torch.tensor([3]))], 1, Sampling(temperature=0))
        backend.release()
    backend.close()
    found = [(path, body.get("lora_name", body.get("model"))) for path, body in servers[0].seen]
    names = [name for path, name in found if path == "/v1/load_lora_adapter"]
    assert len(set(names)) == 2
    assert all(name.startswith("ssl4rl-run-") for name in names)
    assert found == [
        ("/v1/load_lora_adapter", names[0]),
        ("/v1/completions", names[0]),
        ("/v1/load_lora_adapter", names[1]),
        ("/v1/unload_lora_adapter", names[0]),
        ("/v1/completions", names[1]),
        ("/v1/unload_lora_adapter", names[1]),
    ]
    assert served(tiny, tmp_path, servers[:1], Lora(r=2), lora="adapter")._start not in names[0]  # nor after a resume


def test_a_server_that_lacks_a_call_or_is_not_there(tiny: Tiny, tmp_path: Path, servers: list[Any]) -> None:
    backend = served(tiny, tmp_path, servers)
    servers[0].lacks.append("/collective_rpc")
    with pytest.raises(Ssl4rlError, match=r"/collective_rpc answers 404: .* \(start it with VLLM_SERVER_DEV_MODE=1\)"):
        backend.complete([], 1, Sampling())
    nowhere = {"mode": "server", "urls": ["http://127.0.0.1:9"]}
    with pytest.raises(Ssl4rlError, match=r"http://127\.0\.0\.1:9/v1/models: no answer from a vLLM server"):
        open_vllm(
            recipe(tmp_path, sampling=VLLM, vllm=nowhere),
            load_policy(str(tiny("llama")), device="cpu"),
            Ranks(),
            tmp_path,
        )
    assert "vllm" not in sys.modules
