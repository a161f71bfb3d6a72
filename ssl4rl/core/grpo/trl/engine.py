"""Engine `trl`: a recipe through TRL's own GRPOTrainer, by its public surface alone.

The road to several machines (vLLM, DeepSpeed, FSDP), and the reference for the native loop. Data, prompts, verifiers,
the format warm-up, held-out evaluation and the run's folder are ours; sampling, log-probs, advantages, loss, optimiser,
checkpoints and their resuming are TRL's. docs/engine.md lists where a run differs from the native one.
"""

from __future__ import annotations

import gc
import json
import shutil
import time
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from transformers import ProgressCallback, TrainerCallback
from transformers.trainer_callback import PrinterCallback

from ssl4rl.core import registry
from ssl4rl.core.grpo.logps.prefix import inner_model
from ssl4rl.core.grpo.model.policy import Policy
from ssl4rl.core.grpo.model.pretrained import device_named, is_adapter, no_deprecations
from ssl4rl.core.grpo.model.processors import one_line
from ssl4rl.core.grpo.opening import Data, Found, load, open_run, prepare
from ssl4rl.core.grpo.ranks import Ranks
from ssl4rl.core.grpo.record.console import Progress, Say, Stopping, introduce, progress_bar, stop_after_step
from ssl4rl.core.grpo.record.files import is_step, parse, read_text, write_sums, writing
from ssl4rl.core.grpo.record.held_out import evaluate_if_due
from ssl4rl.core.grpo.record.records import card, log_rollouts, summarise
from ssl4rl.core.grpo.record.run_dir import RunDir
from ssl4rl.core.grpo.sampling.vllm.weights import write_config, write_weights
from ssl4rl.core.grpo.trainer import Trainer
from ssl4rl.core.grpo.trl.config import (
    REFUSALS,
    divides,
    grpo_arguments,
    refuse,
    refuse_values,
    rows_per_device,
    samples_here,
)
from ssl4rl.core.grpo.trl.data import RewardColumns, Rows
from ssl4rl.core.grpo.trl.lent import ask, lent
from ssl4rl.core.grpo.trl.on_cpu import hand_over_whole
from ssl4rl.core.recipe.recipe import Recipe
from ssl4rl.core.types import Ssl4rlError

_WRITTEN = "as_loaded"  # in the run's folder, until its end
_OURS = "ssl4rl.json"  # beside TRL's own files in each checkpoint


def check(recipe: Recipe) -> None:
    """Before anything is opened. Raises Ssl4rlError: TRL is not here, or cannot do what the recipe says."""
    try:
        refuse(recipe)
    except ImportError as error:
        raise Ssl4rlError(f"engine trl needs TRL: pip install 'ssl4rl[train]' ({one_line(error)})") from error


def train(recipe: Recipe, ranks: Ranks, device: str, say: Say, bar: bool) -> dict[str, Any]:
    """`run.train` for `engine: trl`, once the processes stand and the folder is this run's alone."""
    refuse_values(recipe, on_cpu=device_named(device).type == "cpu", processes=ranks.size)
    # what is to be divided stays in the host's memory until then, unless it is trained before
    opened = open_run(recipe, ranks, "cpu" if divides(recipe) and not recipe.warmup.steps else device, say, _latest)
    run, trainer, state = opened.run, opened.trainer, opened.state
    done, first = 0, 0
    if state is not None:
        done, first = state["step"] - recipe.warmup.steps, state["first"]
        trainer.step, trainer.stream.too_long = state["step"], state["too_long"]
    started = time.perf_counter() - ranks.by_first(run.seconds_so_far)
    session = _Session(run, trainer, opened.data, say, device, started)
    with closing(run), stop_after_step(ranks) as stopping, progress_bar(trainer, bar, say) as progress:
        if state is None:
            first = session.warm_up(stopping, progress)
        rows = Rows(
            trainer.dataset,
            trainer.policy.encoder,
            first + done * recipe.grpo.prompts_per_step,
            max(1, recipe.train.steps - done) * recipe.grpo.prompts_per_step,
            recipe.prompt.max_tokens,
            trainer.weights,
        )
        rows.check()
        session.prepare(rows, first, opened.longest, stopping, progress)
        session.evaluate(last=recipe.train.steps == 0)
        if done < recipe.train.steps:
            session.train(opened.checkpoint)
        return session.finish()


def _latest(run: RunDir, ranks: Ranks) -> Found | None:
    """The newest checkpoint that was written whole and is as it was."""
    return ranks.by_first(lambda: run.last_good(_read_ours))


def _read_ours(checkpoint: Path) -> dict[str, Any]:
    """What we kept beside TRL's files: the last that is written. Raises Ssl4rlError with what is wrong with it."""
    if not (checkpoint / _OURS).is_file():
        raise Ssl4rlError(f"{_OURS} is missing")
    record = parse(read_text(checkpoint / _OURS))
    counts = [(record or {}).get(name) for name in ("step", "first", "too_long")]
    if record is None or not all(is_step(count) for count in counts) or not isinstance(record.get("unusable"), dict):
        raise Ssl4rlError(f"{_OURS} could not be read")
    return record


class _Session:
    """One call's run: what TRL's callbacks and the steps around TRL share. `trainer` is ours, and only warms up."""

    def __init__(self, run: RunDir, trainer: Trainer, data: Data, say: Say, device: str, started: float) -> None:
        self.run, self.trainer, self.data, self.say, self.device = run, trainer, data, say, device
        self.recipe, self.policy, self.ranks, self._started = trainer.recipe, trainer.policy, trainer.ranks, started
        self.on_cpu = device_named(device).type == "cpu"

    def clock(self) -> float:
        """Seconds since the run began, those before it was resumed included."""
        return round(time.perf_counter() - self._started, 3)

    def warm_up(self, stopping: Stopping, progress: Progress) -> int:
        """Our own supervised steps, before TRL sees the model. Returns the index of the first prompt left to GRPO.

        Raises Interrupted after Ctrl-C. Nothing is kept: TRL's checkpoints begin with its own steps.
        """
        while self.trainer.warming_up:
            metrics, _ = self.trainer.run_step()
            self.run.log({**metrics, "seconds": self.clock()})
            progress(metrics)
            self.trainer.check_bad_steps()
            if stopping():
                raise stopping.interrupted(
                    f"stopped after step {self.trainer.step} of {self.recipe.warmup.steps} of the format warm-up, "
                    "which engine trl keeps no checkpoint of",
                    "starts it anew",
                )
        if self.recipe.train.keep_start:
            self.run.save_start(self.policy)
        self.trainer.learner.optimizer.state.clear()
        return self.trainer.stream.next_index

    def prepare(
        self,
        rows: Rows,
        first: int,
        longest: int,
        stopping: Stopping,
        progress: Progress,
    ) -> None:
        """Makes TRL's trainer.

        Raises:
            Ssl4rlError: TRL takes the settings or the model not, with its own words.
        """
        import datasets
        from trl import GRPOConfig, GRPOTrainer

        recipe, policy, processes, self.stopping = self.recipe, self.policy, self.ranks.size, stopping
        self.rewards = RewardColumns(recipe, policy, rows, self.trainer.rewards)
        self.too_long_before = self.trainer.stream.too_long
        arguments = grpo_arguments(
            recipe,
            on_cpu=self.on_cpu,
            rows=rows_per_device(recipe, longest, processes),
            processes=processes,
            banned_ids=policy.banned_ids,
            output_dir=self.run.checkpoints,
        )
        processor = policy.encoder.processor
        policy.encoder.tokenizer.padding_side = "left"
        for name, value in policy.encoder.options.items():
            setattr(processor.image_processor, name, value)  # TRL calls it without them
        dataset = datasets.Dataset.from_dict({"row": range(rows.size)}).with_transform(rows)
        try:
            with _named(self.run, policy, recipe, self.ranks), _hushed():
                self.theirs = GRPOTrainer(
                    model=policy.model,
                    reward_funcs=self.rewards.functions,
                    args=GRPOConfig(**arguments),
                    train_dataset=dataset,
                    processing_class=processor,
                    callbacks=[_Log(self, first, stopping, progress)],
                )
        except REFUSALS as error:
            raise Ssl4rlError(f"engine trl: TRL refuses this: {one_line(error)}") from error
        if samples_here(recipe) and self.on_cpu:
            hand_over_whole(self.theirs.vllm_generation)
        for callback in (ProgressCallback, PrinterCallback):
            self.theirs.remove_callback(callback)
        self.sharded = bool(self.theirs.is_fsdp_enabled or self.theirs.is_deepspeed_enabled)
        if self.sharded and recipe.eval.every:
            raise Ssl4rlError("eval.every: with DeepSpeed or FSDP the model is evaluated before and after only; set 0")
        trained = sum(p.numel() for p in policy.model.parameters() if p.requires_grad)
        total = sum(p.numel() for p in policy.model.parameters())
        args = self.theirs.args
        self.say(
            f"{policy.name}: {total:,} parameters, {trained:,} trained, on {device_named(self.device)}; prompts up "
            f"to {longest} tokens; TRL: {args.per_device_train_batch_size} sequences x "
            f"{args.gradient_accumulation_steps} x "
            f"{processes} processes an update"
        )

    def train(self, checkpoint: Path | None) -> None:
        """TRL's training. Raises Interrupted after Ctrl-C, once the checkpoint is written."""
        with _hushed(), writing(self.run.checkpoints):
            self.theirs.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        if self.stopping.asked:
            raise self.stopping.interrupted(f"stopped after step {self.trainer.step} of {self.trainer.total_steps}")

    def evaluate(self, last: bool) -> None:
        """Held-out accuracy, where one is due now, by our own decoder."""
        with lent(self.trainer, device_named(self.device)):
            evaluate_if_due(self.run, self.trainer, self.data.held_out, self.say, self.clock, last)

    def finish(self) -> dict[str, Any]:
        """Saves the model, evaluates it, writes and returns the summary."""
        run = self.run
        if self.sharded:  # no rank holds a whole model
            self.theirs.save_model(str(run.final))
            self.ranks.by_first(lambda: None)
            self.theirs = self.policy.model = self.trainer.policy.model = None  # room for a whole one
            gc.collect()
            ask(self.trainer, load(self.recipe, prepare(self.recipe, str(run.final)), self.device))
        self.evaluate(last=True)
        seconds = self.clock()

        def write() -> dict[str, Any]:
            if not self.sharded and is_adapter(self.policy.model) and "ref" in self.policy.model.peft_config:
                self.policy.model.delete_adapter("ref")
            shutil.rmtree(run.folder / _WRITTEN, ignore_errors=True)
            summary = summarise(run, self.trainer, self.data.unusable, seconds)
            summary |= {"shared_prompts": False, "changed_data": self.data.changes}
            if not self.sharded:
                run.save_final(self.policy, card(run, self.trainer, summary))
            run.write_summary(summary)
            return summary

        return self.ranks.by_first(write)


def _importance(logs: dict[str, Any]) -> dict[str, dict[str, float]]:
    """How far TRL's vLLM is from the model that is trained, as the native engine logs it; without one nothing."""
    ratio = "sampling/importance_sampling_ratio"
    if f"{ratio}/mean" not in logs:
        return {}
    return {"importance": {"mean": round(logs[f"{ratio}/mean"], 6), "largest": round(logs[f"{ratio}/max"], 6)}}


@contextmanager
def _hushed() -> Iterator[None]:
    """Within this TRL may call transformers by names it is leaving, and PEFT may miss an embedded model's folder."""
    with no_deprecations():
        warnings.filterwarnings("ignore", "Could not find a config file in embedded:", UserWarning)
        yield


@contextmanager
def _named(run: RunDir, policy: Policy, recipe: Recipe, ranks: Ranks) -> Iterator[None]:
    """Within this the model names a folder or hub id that TRL can load the model from, where it will.

    TRL loads a full model's reference by that name, and so does its vLLM the model that samples (whose weights TRL
    then keeps up to date). That is not where this model comes from if it was made on the spot, warmed up or resumed,
    nor has that place the `model.processor` that vLLM must read pictures with. So weights and processor are written to
    the run's folder. (An adapter needs no reference: TRL keeps a copy of it.)
    """
    inner, folder = inner_model(policy.model), run.folder / _WRITTEN
    reference = recipe.grpo.beta > 0 and not is_adapter(policy.model)
    vllm = samples_here(recipe)
    if not reference and not vllm:
        yield
        return
    before, named = (inner.config.name_or_path, inner.name_or_path), str(inner.name_or_path)
    if not is_adapter(policy.model):
        named = recipe.model.path
    embedded = not named or registry.model_builder(named)
    if embedded or (reference and recipe.warmup.steps) or (vllm and policy.encoder.options):

        def write() -> None:
            if not (folder / "config.json").exists():
                write_weights(policy, folder)
                write_config(policy, folder)

        ranks.by_first(write)
        named = str(folder)
    inner.config.name_or_path = inner.name_or_path = named  # the reference goes by the first, vLLM by the second
    try:
        yield
    finally:
        inner.config.name_or_path, inner.name_or_path = before


class _Log(TrainerCallback):  # type: ignore[misc]
    """Our log lines, rollouts, evaluations, time limit and Ctrl-C, from TRL's public callbacks."""

    def __init__(
        self,
        session: _Session,
        first: int,
        stopping: Stopping,
        progress: Progress,
    ) -> None:
        self.session, self.first, self.stopping, self.progress = session, first, stopping, progress
        self.step_started = time.perf_counter()

    def on_step_begin(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """The clock of a step starts with its first update."""
        if state.global_step % self.session.recipe.grpo.updates_per_step == 0:
            self.step_started = time.perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """Counts our steps, and ends the run early where asked to."""
        session, updates = self.session, self.session.recipe.grpo.updates_per_step
        if state.global_step % updates:
            return
        session.trainer.step = session.recipe.warmup.steps + state.global_step // updates
        session.trainer.stream.too_long = session.too_long_before + session.rewards.too_long
        limit = session.recipe.train.max_seconds
        late = limit is not None and session.ranks.any(session.ranks.first and session.clock() > limit)
        if self.stopping():
            control.should_save = control.should_training_stop = True
        elif late:
            control.should_training_stop = True

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **others: Any) -> None:
        """A step's line in metrics.jsonl in the native engine's words, its rollouts, and an evaluation if due."""
        session, rollouts = self.session, self.session.rewards.last
        if not logs or "loss" not in logs or rollouts is None:
            return  # TRL's totals at the end
        record = self._record(logs, rollouts.tokens * session.ranks.size)
        session.run.log({**record, "seconds": session.clock()})
        if session.trainer.step == session.recipe.warmup.steps + 1:
            introduce(session.trainer, rollouts, session.say)
        log_rollouts(session.run, session.trainer, rollouts)
        for line in session.trainer.rewards.news():
            session.say(f"WARNING {line}")
        for prompt in rollouts.prompts:
            session.data.unusable.add_draws(prompt.example)
        self.progress(record)
        every = session.recipe.eval.every
        if every and (session.trainer.step - session.recipe.warmup.steps) % every == 0:
            session.evaluate(last=False)

    def _further(self) -> dict[str, dict[str, float]]:
        """The means of the parts that reward functions gave, as the native engine logs them."""
        rollouts = self.session.rewards.last
        assert rollouts is not None
        means = {f.name: round(rollouts.mean(f.name), 6) for f in self.session.trainer.rewards.functions}
        return {"parts": means} if means else {}

    def _record(self, logs: dict[str, Any], tokens: int) -> dict[str, Any]:
        seconds = time.perf_counter() - self.step_started
        clipped = logs.get("clip_ratio/region_mean", logs.get("cispo_clip_ratio", 0.0))
        return {
            "step": self.session.trainer.step,
            "phase": "train",
            "reward": round(logs["reward"], 6),
            "accuracy": round(logs["correct"], 6),
            "value": round(logs["rewards/accuracy/mean"], 6),
            "chance": round(logs["chance"], 6),
            "format": round(logs["rewards/format/mean"], 6),
            **self._further(),
            **_importance(logs),
            "unparsed": round(logs["unparsed"], 6),
            "truncated": round(logs["truncated"], 6),
            "zero_variance": round(logs["frac_reward_zero_std"], 6),
            "loss": round(logs["loss"], 8),
            "entropy": round(logs["entropy"], 6),
            "kl": round(logs.get("kl", 0.0), 8),
            "clipped": round(clipped, 6),
            "grad_norm": round(logs["grad_norm"], 6),
            "lr": logs["learning_rate"],
            "completion_tokens": tokens,
            "tokens_per_s": round(tokens / seconds, 1),
            "too_long": self.session.trainer.stream.too_long,
            "step_s": round(seconds, 4),
        }

    def on_save(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """What resuming needs beside TRL's own files."""
        session = self.session
        record = {
            "step": session.trainer.step,
            "first": self.first,
            "too_long": session.trainer.stream.too_long,
            "ways": session.trainer.ways,
            **session.data.state(),
        }
        if session.ranks.first:
            folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            (folder / _OURS).write_text(json.dumps({**record, **session.run.kept()}))
            session.run.write_recipe(folder)
            if not session.sharded:  # else other ranks may still be writing
                write_sums(folder)
