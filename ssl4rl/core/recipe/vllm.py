"""The recipe's section for sampling by vLLM."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class VllmSection(BaseModel):
    """How vLLM samples, with `sampling.backend: vllm`. Further keys are vLLM's own engine arguments (colocate only).

    `mode`: in each training process (colocate), or on servers of vLLM's that are running already, at `urls`, each asked
    in turn. `memory`: the share of a GPU that vLLM may use (without a GPU it keeps 1 GiB of keys and values, or
    `kv_cache_memory_bytes`). `sleep`: its weights go to the host and its keys are dropped during each update.
    `tensor_parallel`: over so many GPUs, where one process trains. `lora`: an adapter is handed over within the
    weights, or as an adapter. `folder`: where weights are put for servers, which must see the same path; by default
    the run's own. `timeout_s`: how long an answer of a server may take.
    """

    model_config = ConfigDict(extra="allow", frozen=True, protected_namespaces=(), allow_inf_nan=False)
    __pydantic_extra__: dict[str, Any]

    mode: Literal["colocate", "server"] = "colocate"
    memory: float = Field(0.3, gt=0, le=1)
    sleep: bool = True
    tensor_parallel: int = Field(1, ge=1)
    lora: Literal["merge", "adapter"] = "merge"
    urls: list[str] = []
    folder: str | None = None
    timeout_s: float = Field(600.0, gt=0)

    @model_validator(mode="after")
    def _one_mode(self) -> VllmSection:
        if self.mode == "server" and not self.urls:
            raise ValueError("mode server needs urls, for example [http://localhost:8000]")
        if self.mode == "colocate" and self.urls:
            raise ValueError("urls are read by mode server, not by colocate")
        if self.mode == "colocate" and self.folder is not None:
            raise ValueError("folder is read by mode server, not by colocate")
        for url in self.urls:
            if not url.startswith(("http://", "https://")):
                raise ValueError(f"urls: {url!r} is no http address; allowed: http://host:port")
        if self.mode == "server" and self.further:
            raise ValueError(
                f"{next(iter(self.further))}: engine arguments are given to a server where it is started, not here"
            )
        return self

    @property
    def further(self) -> dict[str, Any]:
        """vLLM's own engine arguments."""
        return dict(self.__pydantic_extra__ or {})
