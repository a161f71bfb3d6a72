"""vLLM's OpenAI-style servers, started by somebody else: prompts one after another to each, weights by a folder.

A text prompt goes as ids to `/v1/completions`; one with pictures as messages to `/v1/chat/completions`, where the
server's own template and processor must make our ids of it. An adapter is put into a folder and named to
`/v1/load_lora_adapter`, under a new name after each update, so no keys of the one before are ever used; whole weights
are read from a folder by `/collective_rpc` (`reload_weights`), which a server offers with VLLM_SERVER_DEV_MODE=1.
"""

from __future__ import annotations

import base64
import io
import json
import secrets
import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from ssl4rl.core.grpo.logps.features import MediaFeatures
from ssl4rl.core.grpo.model.policy import Encoded, Policy
from ssl4rl.core.grpo.model.pretrained import is_adapter
from ssl4rl.core.grpo.ranks import Ranks
from ssl4rl.core.grpo.sampling.rollout import Completion, Uniforms
from ssl4rl.core.grpo.sampling.sampler import Sampling
from ssl4rl.core.grpo.sampling.vllm.requests import check_prompt, completions, seed_of, settings
from ssl4rl.core.grpo.sampling.vllm.weights import write_adapter, write_weights
from ssl4rl.core.recipe.recipe import Recipe
from ssl4rl.core.types import Ssl4rlError, shortened

_AT_ONCE = 256  # requests under way


@dataclass
class Served:
    """A `Backend`: servers at `urls`, asked in turn; `base` is what each calls its model.

    Weights reach them through `folder` before the first prompts after a `release`.
    """

    policy: Policy
    ranks: Ranks
    urls: list[str]
    base: str
    adapter: bool
    folder: Path
    timeout_s: float
    stale: bool = True
    model: str = ""
    """What is asked for: `base`, or the last update's adapter."""
    updates: int = 0
    _start: str = field(default_factory=lambda: secrets.token_hex(4), init=False)

    @classmethod
    def open(cls, recipe: Recipe, policy: Policy, ranks: Ranks, folder: Path) -> Served:
        """Asks each server what it serves.

        Raises:
            Ssl4rlError: one does not answer, or they serve different models, or too short prompts.
        """
        section = recipe.vllm
        urls = [url.rstrip("/") for url in section.urls]
        served = [_asked(f"{url}/v1/models", None, section.timeout_s)["data"][0] for url in urls]
        names = {str(one["id"]) for one in served}
        if len(names) > 1:
            raise Ssl4rlError(f"vllm.urls: the servers serve different models, {', '.join(sorted(names))}")
        wanted = recipe.prompt.max_tokens + recipe.sampling.max_new_tokens
        shortest = min(int(one.get("max_model_len") or wanted) for one in served)
        if shortest < wanted:
            raise Ssl4rlError(
                f"vllm.urls: a server takes {shortest} tokens, prompt.max_tokens + sampling.max_new_tokens are "
                f"{wanted}; start it with --max-model-len {wanted}, or lower them"
            )
        adapter = is_adapter(policy.model) and section.lora == "adapter"
        return cls(policy, ranks, urls, names.pop(), adapter, folder, section.timeout_s)

    def complete(
        self,
        prompts: Sequence[Encoded],
        group_size: int,
        sampling: Sampling,
        uniforms: Callable[[int, int], Uniforms] | None = None,
        features: Sequence[MediaFeatures | None] | None = None,
    ) -> list[list[Completion]]:
        """As `Backend` says, `features` apart, in vLLM's arithmetic; each completion with vLLM's log-probs."""
        if self.stale:
            self.updates += 1
            self.model = self.ranks.by_first(self._hand_over)
            self.stale = False

        def ask(p: int) -> list[Completion]:
            url = self.urls[(p + self.ranks.rank) % len(self.urls)]
            body = settings(self.policy, sampling, group_size, seed_of(uniforms, p, sampling))
            return self._completed(url, prompts[p], {"model": self.model, "return_token_ids": True, **body})

        if not prompts:
            return []
        with ThreadPoolExecutor(min(_AT_ONCE, len(prompts))) as pool:
            return list(pool.map(ask, range(len(prompts))))

    def wait_for_others(self) -> None:
        """Nothing: servers answer each process by itself."""

    def release(self) -> None:
        """The weights are about to change."""
        self.stale = True

    def close(self) -> None:
        """Takes the adapter from the servers, and the weights' folder away."""
        if self.ranks.first:
            with suppress(Ssl4rlError):  # a server may have ended before
                self._unload()
            shutil.rmtree(self.folder, ignore_errors=True)

    def _unload(self) -> None:
        if self.adapter and self.model:
            for url in dict.fromkeys(self.urls):
                self._post(url, "/v1/unload_lora_adapter", {"lora_name": self.model})

    def _post(self, url: str, path: str, body: Mapping[str, Any]) -> Any:
        return _asked(f"{url}{path}", body, self.timeout_s)

    def _hand_over(self) -> str:
        """Gives the servers the policy as it is now. Returns what to ask them for."""
        if self.adapter:
            # a name that no run before, resumed ones included, has left on a server
            name = f"ssl4rl-{self.folder.parent.name}-{self._start}-{self.updates}"
            folder = self.folder / f"adapter-{self.updates}"
            write_adapter(self.policy, folder)
            for url in dict.fromkeys(self.urls):
                self._post(url, "/v1/load_lora_adapter", {"lora_name": name, "lora_path": str(folder)})
            self._unload()
            shutil.rmtree(self.folder / f"adapter-{self.updates - 1}", ignore_errors=True)
            return name
        write_weights(self.policy, self.folder)
        for url in dict.fromkeys(self.urls):
            given = {"method": "reload_weights", "kwargs": {"weights_path": str(self.folder)}}
            self._post(url, "/collective_rpc", given)
            self._post(url, "/reset_prefix_cache", {})
        return self.base

    def _completed(self, url: str, prompt: Encoded, body: dict[str, Any]) -> list[Completion]:
        if prompt.asked is None:
            answer = self._post(url, "/v1/completions", {**body, "prompt": prompt.prompt_ids.tolist(), "logprobs": 0})
            theirs = answer["choices"][0]["prompt_token_ids"]
        else:
            talk = {"messages": _with_pictures(prompt), "logprobs": True, "top_logprobs": 0}
            options = dict(self.policy.encoder.options)
            chat = {**body, **talk, **({"mm_processor_kwargs": options} if options else {})}
            answer = self._post(url, "/v1/chat/completions", chat)
            theirs = answer["prompt_token_ids"]
        check_prompt(prompt, theirs, self.policy)
        choices = sorted(answer["choices"], key=lambda choice: int(choice["index"]))
        rows = [(choice["token_ids"], _logps(choice["logprobs"])) for choice in choices]
        return completions(self.policy, rows, {})


def _logps(given: Mapping[str, Any]) -> list[float]:
    """Of `/v1/completions` or of `/v1/chat/completions`."""
    return given["token_logprobs"] if "token_logprobs" in given else [step["logprob"] for step in given["content"]]


def _with_pictures(prompt: Encoded) -> list[dict[str, Any]]:
    """The prompt's messages with each picture as a PNG in a data URL."""
    assert prompt.asked is not None
    media = iter(prompt.asked.media)

    def part(given: Mapping[str, Any]) -> dict[str, Any]:
        if "text" in given:
            return dict(given)
        kind, data = next(media)
        if kind != "image":
            raise Ssl4rlError(f"vllm.mode=server hands over pictures, not {kind}; allowed: vllm.mode=colocate")
        file = io.BytesIO()
        data.save(file, format="PNG")
        url = f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
        return {"type": "image_url", "image_url": {"url": url}}

    return [{**message, "content": [part(one) for one in message["content"]]} for message in prompt.asked.talk]


def _asked(url: str, body: Mapping[str, Any] | None, timeout_s: float) -> Any:
    """The server's answer to a GET, or to a POST of `body`; None without a JSON one.

    Raises:
        Ssl4rlError: it does not answer, or says no, in its own words.
    """
    data = None if body is None else json.dumps(body).encode()
    request = Request(url, data, {"Content-Type": "application/json"})
    try:
        with urlopen(request, timeout=timeout_s) as reply:
            text = reply.read().decode()
    except HTTPError as error:
        said = " ".join(error.read().decode(errors="replace").split())
        raise Ssl4rlError(f"{url} answers {error.code}: {shortened(said, 300)}{_hint(url, error.code)}") from error
    except (OSError, HTTPException) as error:
        raise Ssl4rlError(f"{url}: no answer from a vLLM server: {error}") from error
    try:
        return json.loads(text)
    except ValueError:
        return None  # some calls answer with a word


def _hint(url: str, code: int) -> str:
    """What a server lacks that has no such call."""
    if code != 404:
        return ""
    if "lora_adapter" in url:
        return " (start it with --enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=True)"
    dev = url.endswith(("/collective_rpc", "/reset_prefix_cache"))
    return " (start it with VLLM_SERVER_DEV_MODE=1)" if dev else ""
