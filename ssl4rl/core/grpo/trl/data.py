"""Our examples and scores as TRL's GRPOTrainer takes them: a dataset made on demand, and reward functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import torch

from ssl4rl.core.dataset import TaskDataset
from ssl4rl.core.grpo.model.policy import Encoder, Policy
from ssl4rl.core.grpo.sampling.rollout import Completion
from ssl4rl.core.grpo.sampling.sampled import Rollouts, scored
from ssl4rl.core.grpo.stream import Prompt, encode
from ssl4rl.core.grpo.workers import tie
from ssl4rl.core.prompt import messages
from ssl4rl.core.recipe import Recipe
from ssl4rl.core.reward import Rewards
from ssl4rl.core.types import Example, Ssl4rlError

_REPLACEMENTS = 64  # prompts in a row that may be too long


class Rows:
    """What `datasets` calls for a batch of rows: row i is the prompt at index `first` + i.

    A prompt longer than `max_tokens` gives its place to the one `size` further on, so that every rank, worker and
    resumed run sees the same. The last batch's prompts are kept: TRL asks for each once a completion and again for
    every micro-batch.

    Args:
        dataset: where the examples come from.
        encoder: counts tokens, and knows what the model reads.
        first: the index of row 0.
        size: rows in all.
        max_tokens: the longest prompt allowed.
        weights: of the dataset's components, in place of their own.
    """

    def __init__(
        self,
        dataset: TaskDataset,
        encoder: Encoder,
        first: int,
        size: int,
        max_tokens: int,
        weights: Sequence[float] | None = None,
    ) -> None:
        self.dataset, self.encoder, self.first, self.size, self.max_tokens = dataset, encoder, first, size, max_tokens
        self._weights = weights
        self._kept: dict[int, Prompt] = {}

    def __call__(self, batch: Mapping[str, Sequence[int]]) -> dict[str, list[Any]]:
        """Columns prompt (chat messages, or text for a model without a template), index, and images where shown."""
        tie()  # TRL's loader has no other place where a worker could be told
        rows = batch["row"]
        self._kept = {row: self._kept.get(row) or self.prompt(row) for row in dict.fromkeys(rows)}
        made = [self._kept[row] for row in rows]
        columns: dict[str, list[Any]] = {
            "prompt": [self.question(prompt.example) for prompt in made],
            "index": [prompt.index for prompt in made],
        }
        if any(prompt.example.media for prompt in made):
            columns["images"] = [[medium.data for medium in prompt.example.media] for prompt in made]
        return columns

    def prompt(self, row: int) -> Prompt:
        """The prompt of a row. Raises Ssl4rlError if it and all that might replace it are too long."""
        for turn in range(_REPLACEMENTS):
            prompt = self._made(self.first + row + turn * self.size)
            if len(prompt.encoded.prompt_ids) <= self.max_tokens:
                return prompt
        raise Ssl4rlError(
            f"{_REPLACEMENTS} prompts in a row are longer than prompt.max_tokens={self.max_tokens}, the last at index "
            f"{prompt.index} of the dataset"
        )

    def skipped(self, index: int) -> int:
        """How many prompts that were too long the one at `index` stands for."""
        return (index - self.first) // self.size

    def at(self, index: int) -> Prompt:
        """The prompt at `index` of the dataset, made again unless it is of the last batch (workers keep their own)."""
        kept = (prompt for prompt in self._kept.values() if prompt.index == index)
        return next(kept, None) or self._made(index)

    def _made(self, index: int) -> Prompt:
        return encode(self.dataset, self.encoder, index, self.dataset.pick(index, self._weights))

    def question(self, example: Example) -> Any:
        """The prompt as TRL reads it."""
        ask = self.dataset.ask(example)
        if not self._templated:
            return self.encoder.render(example, ask)
        talk = messages(example, ask, self.encoder.system)
        if self.encoder.text_only:
            for message in talk:  # as `Encoder.render` does: many text templates take no lists
                message["content"] = "".join(part["text"] for part in message["content"])
        return talk

    @cached_property
    def _templated(self) -> bool:
        return any(getattr(o, "chat_template", None) for o in (self.encoder.processor, self.encoder.tokenizer))

    def check(self, n: int = 16) -> None:
        """Compares what TRL will give the model with what the native engine gives it.

        Raises:
            Ssl4rlError: other tokens; a mixture of prompts with and without pictures, which TRL's batches cannot hold;
                a medium that is no picture; a vision-language model without a chat template.
        """
        prompts = [self.prompt(row) for row in range(min(n, self.size))]
        examples = [prompt.example for prompt in prompts]
        kinds = {medium.kind for example in examples for medium in example.media}
        if kinds - {"image"}:
            raise Ssl4rlError(f"engine trl shows pictures only, and these prompts hold {', '.join(sorted(kinds))}")
        if kinds and not all(example.media for example in examples):
            raise Ssl4rlError("TRL cannot batch prompts with and without pictures; train them apart, or engine=native")
        if kinds and not self._templated:
            raise Ssl4rlError("engine trl needs a chat template for prompts with pictures; engine=native does not")
        ours, theirs = prompts[0].encoded.prompt_ids.tolist(), self._trl_tokens(examples[0])
        if ours != theirs:
            raise Ssl4rlError(
                f"TRL calls the processor in a way that gives the first prompt {len(theirs)} tokens, other ones than "
                f"the {len(ours)} of engine=native"
            )

    def _trl_tokens(self, example: Example) -> list[int]:
        """The prompt's tokens by the call that TRL makes."""
        question = self.question(example)
        if isinstance(question, str):
            return list(self.encoder.processor(text=[question])["input_ids"][0])
        pictures = iter(example.media)
        if not self.encoder.text_only:
            for message in question:
                parts = message["content"]
                message["content"] = [p | {"image": next(pictures).data} if p["type"] == "image" else p for p in parts]
        done = self.encoder.processor.apply_chat_template(
            conversation=[question], add_generation_prompt=True, tokenize=True, return_dict=True
        )
        return list(done["input_ids"][0])


class RewardColumns:
    """A score's parts as reward functions, `accuracy` and `format` and what else the recipe weighs; TRL adds them up.

    They read the completion's tokens: the text that TRL hands over lacks special tokens, and answer tags may be
    special. A verifier that raises stops the run (VerifierFault).
    """

    def __init__(self, recipe: Recipe, policy: Policy, rows: Rows, rewards: Rewards) -> None:
        self.rows, self.too_long = rows, 0
        self.last: Rollouts | None = None
        self._weights, self._policy, self._group = recipe.reward.model_dump(), policy, recipe.grpo.group_size
        self._rewards = rewards

    @property
    def functions(self) -> list[Callable[..., list[float]]]:
        """In the order of the recipe's weights; the first one scores."""
        names = [name for name in self._weights if name != "accuracy"]
        return [self.accuracy, *(self._column(name) for name in names)]

    def _column(self, name: str) -> Callable[..., list[float]]:
        def column(**others: Any) -> list[float]:
            return self._parts(name)

        column.__name__ = name
        return column

    def accuracy(self, completion_ids: Sequence[list[int]], index: Sequence[int], **others: Any) -> list[float]:
        """The accuracy part of each completion. TRL calls this one first; it scores for all, and logs.

        Args:
            completion_ids: this process's completions, a group's next to each other.
            index: for each, the index of its example.
            others: all else that TRL offers; `log_metric` takes what its log does not have.
        """
        prompts = [self.rows.at(i) for i in index[:: self._group]]
        flat = [self._completion(ids) for ids in completion_ids]
        groups = [flat[at : at + self._group] for at in range(0, len(flat), self._group)]
        dataset = self.rows.dataset
        scores = [scored(dataset, p, group, self._rewards) for p, group in zip(prompts, groups, strict=True)]
        reward_PG = torch.tensor([[score.reward(self._weights) for score in row] for row in scores])
        self.last = rollouts = Rollouts(prompts, groups, scores, reward_PG, features=[None] * len(prompts))
        self.too_long += sum(self.rows.skipped(prompt.index) for prompt in prompts)
        log = others["log_metric"]
        log("chance", sum(self.rows.dataset.chance(p.example) for p in prompts) / len(prompts))
        log("correct", rollouts.share("correct"))
        for verdict in ("unparsed", "truncated"):
            log(verdict, rollouts.share(verdict))
        return self._parts("accuracy")

    def _completion(self, ids: list[int]) -> Completion:
        tensor = torch.tensor(ids, dtype=torch.long)
        return Completion(tensor, self._policy.decode(tensor), truncated=ids[-1] not in self._policy.eos_ids)

    def _parts(self, name: str) -> list[float]:
        assert self.last is not None, "TRL calls reward functions in the order they were given"
        return [score.parts.get(name, 0.0) for row in self.last.scores for score in row]
