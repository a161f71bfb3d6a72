"""The sections of a recipe: every key with its type, its default and its range."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

Share = Annotated[float, Field(ge=0, lt=1)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), allow_inf_nan=False)


def _switched(value: Any) -> Any:
    """YAML reads `on` and `off` as booleans."""
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else value


Switch = Annotated[Literal["auto", "on", "off"], BeforeValidator(_switched)]


class LoraSection(Section):
    """PEFT's LoRA settings."""

    r: int = Field(16, ge=1)
    alpha: int = Field(32, ge=1)
    dropout: float = Field(0.0, ge=0, lt=1)
    target: str | list[str] = "all-linear"

    @field_validator("target")
    @classmethod
    def _a_pattern(cls, target: str | list[str]) -> str | list[str]:
        try:
            re.compile(target if isinstance(target, str) else "")
        except re.error as error:
            raise ValueError(f"no regular expression: {error}") from None
        return target


class AttentionSection(Section):
    """Transformers' attention by part."""

    vision: str = "sdpa"
    text: str = "sdpa"


class ReferenceSection(Section):
    """How the KL term's reference is kept between its passes: "same" is as the policy's weights are."""

    dtype: Literal["same", "bfloat16"] = "same"
    device: Literal["same", "cpu"] = "same"


class ModelSection(Section):
    """Which model, and what of it is trained. `processor`: what its processor is called with on pictures.

    `code`: a Python file that registers classes of one's own with transformers' Auto classes. `trust_remote_code`: run
    what the model's folder or repository brings as code; nothing else does.
    `attention`: of transformers, for the whole model or by part: {vision: flash_attention_2, text: sdpa}. `quantize`:
    the base model under an adapter in 4 bits (NF4, by bitsandbytes).
    """

    path: str
    lora: LoraSection | None = None
    freeze_vision: bool = False
    gradient_checkpointing: bool = False
    attention: str | AttentionSection = "sdpa"
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    device: str = "auto"
    processor: dict[str, Any] = {}
    code: str = ""
    trust_remote_code: bool = False
    reference: ReferenceSection = ReferenceSection()
    quantize: Literal["4bit"] | None = None

    @model_validator(mode="after")
    def _adapted(self) -> ModelSection:
        if self.quantize and self.lora is None:
            raise ValueError("quantize keeps the base model in 4 bits, which are not trained; it needs model.lora")
        return self


class TaskSection(Section):
    """One task of the mixture; `data` overrides the recipe's.

    `levels` in place of `level`: several, from easy to hard, which the curriculum weighs; "all" is all of the task's,
    "all,image_px=32" all of them with that parameter. `shares`: each level's part where the curriculum is `fixed`.
    """

    task: str
    level: str | None = None
    levels: list[str] | str | None = None
    shares: list[float] | None = None
    weight: float = Field(1.0, ge=0)
    data: str | None = None

    @model_validator(mode="after")
    def _one_way(self) -> TaskSection:
        if self.level is not None and self.levels is not None:
            raise ValueError(f"level {self.level!r} and levels exclude each other")
        if isinstance(self.levels, str) and self.levels.partition(",")[0] != "all":
            raise ValueError(f"levels is {self.levels!r}; allowed: a list of levels, or 'all'")
        if self.levels is not None and not self.levels:
            raise ValueError("levels is empty; name at least one")
        if self.shares is not None and self.levels is None:
            raise ValueError("shares are of levels, and there are none")
        if self.shares is not None and (min(self.shares, default=0) < 0 or sum(self.shares) <= 0):
            raise ValueError("shares must be >= 0 and not all 0")
        return self


class CurriculumSection(Section):
    """Which levels are trained on when. See docs/curriculum.md.

    `strategy`: fixed, uniform, staged, goldilocks, or a class of one's own, "./my.py:Class", which `options` are given
    to. `target`: the level to end at, by its name; the hardest by default. `memory`: rollout groups that a level's
    averages reach back over. `threshold`: the skill (0 is guessing, 1 perfect) at which a level is mastered, and
    `learnable` the one at which it is off the floor, each for `patience` steps in a row. staged keeps the share `keep`
    for earlier levels. goldilocks: `floor`, each level's least share; `rate`, how much of the way weights move in a
    step; `anneal`, when everything but the floor is at the hardest level within reach: a share of train.steps, or
    (above 1) a number of steps.
    """

    strategy: str = "fixed"
    target: str | None = None
    memory: int = Field(32, ge=1)
    threshold: float = Field(0.6, gt=0, le=1)
    patience: int = Field(3, ge=1)
    keep: float = Field(0.2, ge=0, lt=1)
    floor: float = Field(0.05, ge=0, lt=0.5)
    rate: float = Field(0.2, gt=0, le=1)
    learnable: float = Field(0.1, gt=0, lt=1)
    anneal: float = Field(0.5, gt=0)
    options: dict[str, Any] = {}


class PromptSection(Section):
    """How questions are put. A prompt longer than `max_tokens` is refused before training, never cut."""

    style: Literal["think", "answer"] = "think"
    system: str | None = None
    max_tokens: int = Field(1024, ge=1)


class RewardSection(Section):
    """Weights of the reward's parts: the verifier's, and by further keys any reward function (`core/reward.py`).

    `length: -0.001`, `"./mine.py:brevity": 0.2`. The verifier's parts lie in [0, 1].
    """

    model_config = ConfigDict(extra="allow", frozen=True)
    __pydantic_extra__: dict[str, float]

    accuracy: float = Field(1.0, ge=0)
    format: float = Field(0.1, ge=0)


class SamplingSection(Section):
    """How completions are sampled in training, and by whom: the policy itself, or vLLM (section `vllm`)."""

    backend: Literal["native", "vllm"] = "native"
    temperature: float = Field(1.0, gt=0)
    top_p: float = Field(1.0, gt=0, le=1)
    top_k: int = Field(0, ge=0)
    min_p: float = Field(0.0, ge=0, lt=1)
    max_new_tokens: int = Field(256, ge=1)


class GrpoSection(Section):
    """The algorithm. One step samples `group_size` completions for each of `prompts_per_step` prompts.

    The step's groups are cut into `updates_per_step` optimiser updates; from the second on the policy has moved, and
    the clip acts. `beta` > 0 adds the KL to the reference policy (k3 estimator). `refill` > 0: groups whose completions
    all earned the same are dropped and others sampled in their place, up to so many times `prompts_per_step` more.
    `importance_cap`: where another engine sampled, a token counts by the ratio of its probabilities, at most so much.
    """

    loss: Literal["grpo", "dr_grpo", "dapo", "gspo", "cispo"] = "grpo"
    group_size: int = Field(8, ge=2)
    prompts_per_step: int = Field(32, ge=1)
    refill: int = Field(0, ge=0)
    updates_per_step: int = Field(1, ge=1)
    advantage_scale: Literal["group", "batch", "task", "none"] = "group"
    clip_low: float = Field(0.2, gt=0, lt=1)
    clip_high: float = Field(0.2, gt=0)
    beta: float = Field(0.0, ge=0)
    importance_cap: float = Field(2.0, gt=0)


class WarmupSection(Section):
    """Supervised steps that teach the answer FORMAT on random valid answers (no task knowledge), before GRPO.

    `rehearsal` keeps a little of it in every GRPO step: that many times the cross-entropy on random valid answers.
    """

    steps: int = Field(0, ge=0)
    prompts_per_step: int = Field(64, ge=1)
    lr: float = Field(1e-3, gt=0)
    rehearsal: float = Field(0.0, ge=0)


class OptimSection(Section):
    """AdamW. `warmup_steps` of linear warm-up, then constant or cosine down to a tenth.

    An update whose gradient is not finite is skipped; `max_bad_steps` steps with one in a row end the run.
    """

    lr: float = Field(1e-6, gt=0)
    betas: tuple[Share, Share] = (0.9, 0.999)
    weight_decay: float = Field(0.0, ge=0)
    max_grad_norm: float = Field(1.0, gt=0)
    schedule: Literal["constant", "cosine"] = "constant"
    warmup_steps: int = Field(0, ge=0)
    max_bad_steps: int = Field(5, ge=1)


class TrainSection(Section):
    """Length and housekeeping. Time limits end the run early, cleanly, after the step in progress.

    `processes`: how many there must be, for a launcher that might start fewer; by default as many as there are.
    `shard`: what each of several processes holds a share of: nothing, AdamW's state (the same weights, less memory), or
    gradients too, and in half precision the float32 weights (bfloat16 ones are whole everywhere).
    `shared`: completions share their prompt's computation if the model passes a check by numbers (auto), without that
    check (on), or never (off).
    `cuda_graphs`: sample in steps of one shape, which a GPU replays (auto: on a GPU, if that passes the check too);
    "on" without a GPU takes the same steps, not replayed.
    `keep_start`: keep the policy as it is after the format warm-up, in `start/`.
    `log_to`: tensorboard, wandb, trackio, or a logger of one's own, "./my.py:Class" (`core/grpo/record/loggers.py`).
    `log_table_every`: every so many steps loggers are shown rollouts with their pictures (0 is never).
    `say_every`: every so many steps a line where there is no terminal for a bar (0 is never).
    `changed_data`: what a resumed run does whose pictures, graph, held-out items or tasks' versions are no longer those
    of its checkpoint: refuse, or go on and say so in summary.json and the report.
    `gradient_agreement_every`: every so many steps, how far the tasks' gradients point the same way (0 is never).
    """

    steps: int = Field(100, ge=0)
    max_seconds: float | None = Field(None, gt=0)
    seed: int = 0
    tokens_per_microbatch: int = Field(16384, ge=1)
    rollout_rows: int = Field(512, ge=1)
    checkpoint_every: int = Field(50, ge=1)
    keep_checkpoints: int = Field(2, ge=1)
    workers: int = Field(0, ge=0, le=1024)
    threads: int | None = Field(None, ge=1, le=4096)
    processes: int | None = Field(None, ge=1)
    shard: Literal["none", "optimizer", "gradients"] = "none"
    shared: Switch = "auto"
    cuda_graphs: Switch = "auto"
    keep_start: bool = False
    log_rollouts: int = Field(2, ge=0)
    log_to: list[str] = []
    log_table_every: int = Field(25, ge=0)
    say_every: int = Field(10, ge=0)
    changed_data: Literal["refuse", "go_on"] = "refuse"
    gradient_agreement_every: int = Field(0, ge=0)


class EvalSection(Section):
    """Held-out evaluation before, during (`every` steps; 0 is never) and after training. Greedy by default.

    `levels`: of a task with several, the curriculum's target alone, or all.
    """

    n: int = Field(400, ge=1)
    every: int = Field(0, ge=0)
    n_during: int = Field(200, ge=1)
    seed: int = 1_000_003
    temperature: float = Field(0.0, ge=0)
    levels: Literal["target", "all"] = "target"
