"""Our models in lmms-eval (`ssl4rl bench --lmms TASK`): its tasks, prompts and scores, our loading and sampling."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import chdir, nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ssl4rl.core.task import keyed_rng
from ssl4rl.core.types import Example, Media, Ssl4rlError
from ssl4rl.tools.asked import need, quiet
from ssl4rl.tools.weights import as_asked, find_weights

_BATCH = 16


def bench_lmms(model: str, task: str, *, n: int | None = None, max_new_tokens: int | None = None) -> dict[str, Any]:
    """One model on one of lmms-eval's tasks, greedily; its own prompt and its own scores, so no answer tags.

    Args:
        model: as `bench` takes them.
        task: a name that `python -m lmms_eval --tasks list` shows, or a folder that holds one's own task's YAML, as
            `ssl4rl export --format lmms-eval` writes it.
        n: its first so many items.
        max_new_tokens: at most; None is what the task says.

    Returns:
        lmms-eval's results of the task: a metric's value by its name.

    Raises:
        Ssl4rlError: lmms-eval is not installed or knows no such task; a model that cannot be opened.
    """
    need("train", "torch", "transformers")
    if find_spec("lmms_eval") is None:
        raise Ssl4rlError("lmms: lmms-eval is not installed; pip install lmms-eval")
    place = find_weights(model)
    system = as_asked(place.run)["system"]
    with quiet():
        from lmms_eval.evaluator import simple_evaluate
        from lmms_eval.tasks import TaskManager

        from ssl4rl.core.grpo.model.policy import load_policy

        folder = Path(task).resolve() if Path(task).is_dir() else None
        if folder:
            task = _task_in(folder)
        manager = TaskManager(include_path=str(folder), include_defaults=False) if folder else TaskManager()
        if task not in manager.all_tasks:
            raise Ssl4rlError(f"lmms: unknown task {task!r}; `python -m lmms_eval --tasks list` shows them")
        policy = load_policy(place.path, name=model, trainable=False, system=system, **place.loading)
        adapted = _adapted(policy, max_new_tokens)
        with chdir(folder) if folder else nullcontext():  # its data files are named from there
            found = simple_evaluate(model=adapted, tasks=[task], task_manager=manager, limit=n, log_samples=False)
    results: dict[str, Any] = found["results"][task]
    return {name: value for name, value in results.items() if name != "alias"}


def _task_in(folder: Path) -> str:
    found = sorted(folder.glob("*.yaml"))
    if len(found) != 1:
        raise Ssl4rlError(f"lmms: {str(folder)!r} holds {len(found)} YAML files; allowed: one, the task's")
    return found[0].stem


def _adapted(policy: Any, max_new_tokens: int | None) -> Any:
    """Our policy as a model of lmms-eval."""
    from lmms_eval.api.model import lmms

    from ssl4rl.core.grpo.sampling.backend import Native
    from ssl4rl.core.grpo.sampling.sampler import Sampling

    class Adapted(lmms):  # type: ignore[misc]  # has no types
        """Greedy replies to its requests."""

        def generate_until(self, requests: Sequence[Any]) -> list[str]:
            replies: list[str] = []
            for start in range(0, len(requests), _BATCH):
                batch = [request.args for request in requests[start : start + _BATCH]]
                encoded = [policy.encoder.encode(self._example(*arguments), "") for arguments in batch]
                limits = [arguments[1].get("max_new_tokens", 256) for arguments in batch]
                sampling = Sampling(temperature=0.0, max_new_tokens=max_new_tokens or max(limits))

                def uniforms(p: int, g: int, length: int = sampling.max_new_tokens) -> Any:
                    return keyed_rng("lmms", p, g).random(length)

                groups = Native(policy).complete(encoded, 1, sampling, uniforms)
                for (completion,), arguments in zip(groups, batch, strict=True):
                    replies.append(_until(completion.text, arguments[1].get("until")))
            return replies

        def _example(
            self, context: str, options: dict[str, Any], to_visual: Any, item: Any, task: str, split: str
        ) -> Example:
            visuals = to_visual(self.task_dict[task][split][item]) if to_visual else []
            return Example((*(Media("image", picture.convert("RGB")) for picture in visuals), context), None)

        def loglikelihood(self, requests: Sequence[Any]) -> list[Any]:
            raise Ssl4rlError("lmms: the task asks for log-likelihoods; allowed: tasks that generate")

        def generate_until_multi_round(self, requests: Sequence[Any]) -> list[str]:
            raise Ssl4rlError("lmms: the task takes several rounds; allowed: tasks of one")

    return Adapted()


def _until(text: str, stops: Any) -> str:
    """The reply up to the first of the texts that end it."""
    for stop in [stops] if isinstance(stops, str) else stops or ():
        text = text.partition(stop)[0] if stop else text
    return text
