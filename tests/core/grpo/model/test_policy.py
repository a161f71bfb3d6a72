"""Every family loads, encodes as its model expects, and says in one line what it cannot do."""

from __future__ import annotations

import builtins
import importlib.util
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from transformers import AutoProcessor, AutoTokenizer

from ssl4rl.core.grpo.logps.prefix import Group, shared_logps, unshared_logps
from ssl4rl.core.grpo.model import pretrained, processors
from ssl4rl.core.grpo.model.policy import Encoded, Policy, load_policy
from ssl4rl.core.grpo.model.pretrained import Lora, vision_modules
from ssl4rl.core.grpo.model.reference import Reference
from ssl4rl.core.grpo.sampling.prefill import collate
from ssl4rl.core.grpo.sampling.rollout import generate
from ssl4rl.core.grpo.sampling.sampler import Sampling
from ssl4rl.core.types import Example, Media, Ssl4rlError
from tests.core.grpo.cases import noise
from tests.tiny_models import KINDS, VISION, build

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # PaliGemma, numpy 2

ASK = "Answer with one letter. Reply with nothing but the answer inside <answer> </answer>."
EMBEDDED = "embedded:tiny_vlm"


def picture(seed: int, side: int = 40) -> Media:
    return Media("image", noise(side, side, seed))


def example(kind: str, pictures: int = 2) -> Example:
    shown = [part for i in range(pictures) for part in (f" Picture {i}: ", picture(i, 40 + 20 * i))]
    return Example((*(shown if kind in VISION else ()), "Which is it?"), "A")


def media_on(policy: Policy, encoded: Encoded) -> dict[str, Any]:
    return collate([encoded], policy.pad_id, policy.device)


def placeholders(policy: Policy, encoded: Encoded) -> int:
    config = policy.model.config
    image_id = getattr(config, "image_token_id", None) or config.image_token_index
    return int((encoded.prompt_ids == image_id).sum())


def one_line(call: Callable[[], object]) -> str:
    with pytest.raises(Ssl4rlError) as error:
        call()
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("kind", KINDS)
def test_every_family(tiny: Callable[[str], Path], kind: str) -> None:
    policy = load_policy(str(tiny(kind)), device="cpu")
    prompt = policy.encoder.encode(example(kind), ASK)
    text = policy.encoder.render(example(kind), ASK)
    tokenizer = policy.encoder.tokenizer
    assert policy.encoder.text_only == (kind not in VISION)
    assert ASK in text
    assert text.replace("<|end_header_id|>", "").rstrip(": \n").endswith("assistant"), "nobody is asked to reply"
    assert ASK in tokenizer.decode(prompt.prompt_ids), "the prompt was cut or changed"
    assert prompt.prompt_ids.dtype == torch.long
    assert prompt.prompt_ids.ndim == 1
    bos = tokenizer.bos_token_id
    if bos is not None and kind != "paligemma":  # whose processor writes a BOS of its own between pictures and text
        assert int((prompt.prompt_ids == bos).sum()) == 1

    with torch.no_grad():
        logits = policy.model(**media_on(policy, prompt)).logits
    assert logits.shape[:2] == (1, len(prompt.prompt_ids))
    assert logits.isfinite().all()
    if kind in VISION:
        features = policy.model.base_model.get_image_features(
            **{name: value for name, value in prompt.media.items() if "token_type" not in name}, return_dict=True
        ).pooler_output
        assert placeholders(policy, prompt) == sum(x.flatten(0, -2).shape[0] for x in features) > 0

    reply = "<think>a, b</think><answer>top left 90°</answer>"
    ids = policy.tokens(reply)
    assert int(ids[-1]) in policy.eos_ids
    assert policy.decode(ids) == reply
    assert not set(policy.eos_ids) & set(policy.banned_ids)
    vocabulary = policy.model.get_output_embeddings().weight.shape[0]
    assert all(0 <= i < vocabulary for i in (*policy.banned_ids, *policy.eos_ids))
    assert not set(ids.tolist()) & set(policy.banned_ids), "a well-formed reply could not be sampled"


@pytest.mark.parametrize("kind", ["qwen3_5", "gemma2", "gpt_oss", "falcon_h1", "mamba", "bloom"])
def test_families_without_sdpa_or_with_a_state_decode_as_generate_does(tiny: Callable[[str], Path], kind: str) -> None:
    """Two prompts of different length, three samples each: the same as one at a time, and greedy as transformers."""
    policy = load_policy(str(tiny(kind)), device="cpu", trainable=False)
    prompts = [policy.encoder.encode(example(kind, n), ASK + " Please." * n) for n in (1, 2)]
    greedy = generate(policy, prompts, 1, Sampling(temperature=0, max_new_tokens=8))
    for prompt, (completion,) in zip(prompts, greedy, strict=True):
        theirs = policy.model.generate(
            **media_on(policy, prompt),
            do_sample=False,
            max_new_tokens=8,
            suppress_tokens=policy.banned_ids,
            eos_token_id=policy.eos_ids,
            pad_token_id=policy.pad_id,
        )
        assert completion.ids.tolist() == theirs[0, len(prompt.prompt_ids) :].tolist()

    def uniforms(p: int, g: int) -> Any:
        return torch.rand(8, generator=torch.Generator().manual_seed(10 * p + g), dtype=torch.float64).numpy()

    together = generate(policy, prompts, 3, Sampling(max_new_tokens=8), uniforms)
    for p, row in enumerate(together):
        for g, completion in enumerate(row):
            ((alone,),) = generate(
                policy, prompts[p : p + 1], 1, Sampling(max_new_tokens=8), lambda _, __, p=p, g=g: uniforms(p, g)
            )
            assert completion.ids.tolist() == alone.ids.tolist()


@pytest.mark.parametrize("kind", ["qwen2_5_vl", "idefics3", "gemma3"])
def test_text_and_pictures_mix(tiny: Callable[[str], Path], kind: str) -> None:
    policy = load_policy(str(tiny(kind)), device="cpu")
    prompts = [policy.encoder.encode(example(kind, n), ASK) for n in (0, 2)]
    assert not prompts[0].media
    completions = generate(policy, prompts, 1, Sampling(temperature=0, max_new_tokens=4))
    policy.model.train()
    groups = [Group(p.prompt_ids, p.media, [row[0].ids]) for p, row in zip(prompts, completions, strict=True)]
    loss = unshared_logps(policy.model, groups).logp_PGT.sum()
    assert loss.isfinite()
    torch.autograd.backward(loss)


def test_a_bos_that_only_the_tokenizer_adds_is_added_once(tmp_path: Path) -> None:
    """LLaVA's published template leaves the BOS to the tokenizer; Llama's writes it. Either way there is one."""
    for with_template in (False, True):
        folder = build("llava", tmp_path / str(with_template))
        tokenizer = AutoTokenizer.from_pretrained(folder)
        from tokenizers.processors import TemplateProcessing

        bos = tokenizer.bos_token
        tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
            single=f"{bos} $A", special_tokens=[(bos, tokenizer.bos_token_id)]
        )
        if not with_template:
            tokenizer.chat_template = tokenizer.chat_template.removeprefix(bos)
        tokenizer.save_pretrained(folder)
        policy = load_policy(str(folder), device="cpu")
        ids = policy.encoder.encode(example("llava"), ASK).prompt_ids.tolist()
        assert ids[0] == tokenizer.bos_token_id
        assert ids.count(tokenizer.bos_token_id) == 1


def test_without_a_chat_template(tmp_path: Path) -> None:
    folder = build("llama", tmp_path / "llama")
    (folder / "chat_template.jinja").unlink()
    policy = load_policy(str(folder), device="cpu", system="Be short.")
    assert policy.encoder.render(example("llama"), "Say it.") == "Be short.\nWhich is it?\nSay it.\n"
    assert len(policy.encoder.encode(example("llama"), "Say it.").prompt_ids) > 5

    folder = build("llava", tmp_path / "llava")
    (folder / "chat_template.jinja").unlink()
    policy = load_policy(str(folder), device="cpu")
    assert policy.encoder.render(example("llava", 1), "Say it.") == " Picture 0: <image>Which is it?\nSay it.\n"
    assert placeholders(policy, policy.encoder.encode(example("llava", 1), "Say it.")) == 16
    sound = Example((Media("sound", [1]), "What is it?"), "A")
    assert "neither a chat template nor a placeholder" in one_line(lambda: policy.encoder.encode(sound, "Say it."))


def test_a_system_message(tiny: Callable[[str], Path]) -> None:
    for kind in ("qwen2_5_vl", "llama"):
        policy = load_policy(str(tiny(kind)), device="cpu", system="Be short.")
        text = policy.encoder.render(example(kind), ASK)
        assert text.index("Be short.") < text.index("Which is it?")


def test_processor_options(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    """SmolVLM cuts every picture into tiles unless told not to; the option is saved with the policy."""
    folder = build("smolvlm", tmp_path / "smolvlm")
    path = folder / "preprocessor_config.json"
    entries = {"do_image_splitting": True, "size": {"longest_edge": 64}}
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))
    shown = Example((picture(0, 64), "Which is it?"), "A")
    tiled = load_policy(str(folder), device="cpu")
    whole = load_policy(str(folder), device="cpu", options={"do_image_splitting": False})
    count = [placeholders(p, p.encoder.encode(shown, ASK)) for p in (tiled, whole)]
    assert count == [5 * 4, 4]
    whole.save(tmp_path / "final")
    again = load_policy(str(tmp_path / "final"), device="cpu")
    assert placeholders(again, again.encoder.encode(shown, ASK)) == 4


def test_pictures_for_a_text_model(tiny: Callable[[str], Path]) -> None:
    policy = load_policy(str(tiny("llama")), device="cpu")
    line = one_line(lambda: policy.encoder.encode(Example((picture(0), "What?"), "A"), ASK))
    assert line.startswith("the model reads text only, but ")
    assert line.endswith("shows image")


def test_saved_files_load_with_transformers_alone(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    """Nothing but the weights changes; a processor loaded without its video half keeps its published files."""
    for kind in ("qwen2_5_vl", "idefics3", "llama"):
        origin, folder = tiny(kind), tmp_path / kind
        load_policy(str(origin), device="cpu").save(folder)
        for name in ("preprocessor_config.json", "processor_config.json"):
            if (origin / name).exists():
                assert (folder / name).read_bytes() == (origin / name).read_bytes()
        again = load_policy(str(folder), device="cpu")
        first = load_policy(str(origin), device="cpu")
        prompts = [p.encoder.encode(example(kind), ASK) for p in (first, again)]
        with torch.no_grad():
            logits = [p.model(**media_on(p, e)).logits for p, e in zip((first, again), prompts, strict=True)]
        assert torch.equal(*logits)
    assert AutoProcessor.from_pretrained(tmp_path / "idefics3").chat_template


def test_the_published_qwen_layout(tmp_path: Path) -> None:
    """Qwen2.5-VL's hub folder has no processor_config.json."""
    folder = build("qwen2_5_vl", tmp_path / "model")
    (folder / "processor_config.json").unlink()
    policy = load_policy(str(folder), device="cpu")
    assert placeholders(policy, policy.encoder.encode(example("qwen2_5_vl"), ASK)) == 5
    policy.save(tmp_path / "final")
    again = load_policy(str(tmp_path / "final"), device="cpu")
    assert placeholders(again, again.encoder.encode(example("qwen2_5_vl"), ASK)) == 5


BAD = {
    "no/such/folder": "model path 'no/such/folder' does not exist",
    "./nothing": "model path './nothing' does not exist",
    "embedded:tiny_vl": "unknown embedded model 'tiny_vl'; did you mean 'tiny_vlm'?",
}


@pytest.mark.parametrize("path", BAD)
def test_paths_that_lead_nowhere(path: str) -> None:
    assert one_line(lambda: load_policy(path, device="cpu")) == BAD[path]


def write(name: str, text: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text(text)


def delete(name: str) -> Callable[[Path], object]:
    return lambda folder: [file.unlink() for file in folder.glob(name)]


def halve(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def widen(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "hidden_size": 128}))


def deepen(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 3}))


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (delete("*"), "holds no config.json, so no model"),
    "config is no JSON": (write("config.json", "{"), "not a valid JSON file"),
    "config is a list": (write("config.json", "[1]"), "does not load: Unrecognized model"),
    "unknown architecture": (write("config.json", '{"model_type": "gpt99"}'), "has model type `gpt99`"),
    "no weights": (delete("model.safetensors"), "Error no file named model.safetensors"),
    "half the weights": (halve, "does not load: Error while deserializing header"),
    "other weights": (write("model.safetensors", "not weights"), "does not load: Error while deserializing header"),
    "other shapes": (widen, "lacks 20 weights that its config asks for, model.embed_tokens.weight among them"),
    "too few weights": (deepen, "lacks 9 weights that its config asks for, model.layers.2.input_layernorm.weight"),
    "no tokenizer": (delete("token*"), "its tokenizer does not load: "),
    "adapter config is no JSON": (write("adapter_config.json", "{"), "adapter_config.json names no base model"),
    "adapter's base is gone": (
        write("adapter_config.json", '{"base_model_name_or_path": "/no/base"}'),
        "model path '/no/base' does not exist",
    ),
    "adapter without weights": (
        write("adapter_config.json", f'{{"base_model_name_or_path": "{EMBEDDED}", "peft_type": "LORA"}}'),
        "does not load: ",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_folders(tmp_path: Path, case: str) -> None:
    spoil, line = BROKEN[case]
    folder = build("llama", tmp_path / "model")
    spoil(folder)
    assert line in one_line(lambda: load_policy(str(folder), device="cpu"))


def test_a_folder_above_a_model_or_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`out=runs/a` makes runs/a/NAME; what is no folder is taken for a hub id, with the nearest folder in the line."""
    folder = build("llama", tmp_path / "runs" / "model")
    assert one_line(lambda: load_policy(str(folder.parent), device="cpu")) == (
        f"model folder '{folder.parent}' holds no config.json, so no model; did you mean '{folder}', which lies in it?"
    )
    monkeypatch.chdir(tmp_path)
    assert pretrained._no_folder("runs/modle") == "model 'runs/modle' is no folder here (did you mean 'model'?)"
    assert pretrained._no_folder("Qwen/Qwen3-VL-4B") == "model 'Qwen/Qwen3-VL-4B' is no folder here"


def test_broken_vision_folders(tmp_path: Path) -> None:
    for kind in ("idefics3", "qwen2_5_vl"):
        folder = build(kind, tmp_path / kind)
        (folder / "preprocessor_config.json").write_text("{")
        line = one_line(lambda folder=folder: load_policy(str(folder), device="cpu"))  # type: ignore[misc]
        assert "its processor does not load" in line
        assert "preprocessor_config.json' is not a valid JSON file" in line


def test_a_file_is_no_folder(tiny: Callable[[str], Path]) -> None:
    file = tiny("llama") / "config.json"
    line = one_line(lambda: load_policy(str(file), device="cpu"))
    assert line == f"model path '{file}' is a file; name the folder that it lies in"


def test_wrong_settings() -> None:
    def load(**settings: Any) -> str:
        return one_line(lambda: load_policy(EMBEDDED, **{"device": "cpu", **settings}))

    assert load(device="cudda") == "unknown device 'cudda'; allowed: auto, cpu, cuda, cuda:0, ..."
    assert "Target modules {'nope'} not found" in load(lora=Lora(target=["nope"]))
    if not torch.cuda.is_available():
        assert "finds no GPU here" in load(device="cuda")


@pytest.mark.skipif(importlib.util.find_spec("torchvision") is not None, reason="torchvision is here")
def test_missing_torchvision_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only where the way round it fails too."""
    folder = build("qwen2_5_vl", tmp_path / "model")
    assert load_policy(str(folder), device="cpu")

    def broken(self: Any, image_processor: Any, tokenizer: Any, video_processor: Any = None, **more: Any) -> None:
        raise ValueError("no processor today")

    monkeypatch.setattr("transformers.Qwen2_5_VLProcessor.__init__", broken)
    line = one_line(lambda: processors.load_processor(str(folder), vision=True))
    assert "its processor needs torchvision, which is not installed here" in line
    assert "no processor today" in line


@pytest.mark.parametrize("kind", ["qwen2_5_vl", "idefics3", "llava", "internvl", "llama"])
@pytest.mark.parametrize("freeze_vision", [False, True])
def test_lora(tiny: Callable[[str], Path], kind: str, freeze_vision: bool) -> None:
    policy = load_policy(str(tiny(kind)), lora=Lora(r=2, alpha=4), freeze_vision=freeze_vision, device="cpu")
    trained = {name for name, p in policy.model.named_parameters() if p.requires_grad}
    assert trained
    assert all("lora_" in name for name in trained)
    assert all(p.dtype == torch.float32 for p in policy.model.parameters() if p.requires_grad)
    towers = [name for name, _ in vision_modules(policy.model.get_base_model())]
    assert bool(towers) == (kind in VISION)
    if kind in VISION:
        assert any(tower in name for tower in towers for name in trained) == (not freeze_vision)


def test_full_with_a_frozen_tower(tiny: Callable[[str], Path]) -> None:
    policy = load_policy(str(tiny("qwen2_5_vl")), freeze_vision=True, device="cpu")
    for name, p in policy.model.named_parameters():
        assert p.requires_grad == (".visual." not in name)


def test_lora_starts_from_its_seed(tiny: Callable[[str], Path]) -> None:
    def first(seed: int) -> torch.Tensor:
        torch.manual_seed(torch.seed() % 1000)
        model = load_policy(str(tiny("llama")), lora=Lora(r=2, seed=seed), device="cpu").model
        return next(p for name, p in model.named_parameters() if "lora_A" in name).detach()

    assert torch.equal(first(0), first(0))
    assert not torch.equal(first(0), first(1))


def test_dtype(tiny: Callable[[str], Path]) -> None:
    """A frozen base may have half precision; what is trained never has, unless asked for."""
    lora = load_policy(str(tiny("llama")), lora=Lora(r=2), dtype="bfloat16", device="cpu").model
    kinds = {(p.requires_grad, p.dtype) for p in lora.parameters()}
    assert kinds == {(False, torch.bfloat16), (True, torch.float32)}
    full = load_policy(str(tiny("llama")), dtype="bfloat16", device="cpu").model
    assert {p.dtype for p in full.parameters()} == {torch.bfloat16}


@pytest.mark.parametrize("base", [EMBEDDED, "llama"])
def test_adapter_folder(tiny: Callable[[str], Path], tmp_path: Path, base: str) -> None:
    """An adapter loads over its base, goes on training in float32, and loads from where PEFT alone would."""
    path = base if base == EMBEDDED else str(tiny(base))
    policy = load_policy(path, lora=Lora(r=2), device="cpu")
    with torch.no_grad():
        for p in policy.model.parameters():
            if p.requires_grad:
                p.normal_(std=0.1)
    folder = tmp_path / "adapter"
    policy.save(folder)
    assert json.loads((folder / "adapter_config.json").read_text())["base_model_name_or_path"] == path
    prompt = policy.encoder.encode(example(base, 0), ASK)
    logits = policy.model.eval()(**media_on(policy, prompt)).logits
    for lora in (None, Lora(r=2)):  # a resumed run's recipe still says LoRA
        again = load_policy(str(folder), lora=lora, device="cpu")
        assert torch.equal(again.model.eval()(**media_on(again, prompt)).logits, logits)
        trained = [p for p in again.model.parameters() if p.requires_grad]
        assert len(trained) == sum(p.requires_grad for p in policy.model.parameters())
        assert all(p.dtype == torch.float32 for p in trained)
        assert again.encoder.encode(example(base, 0), ASK).prompt_ids.tolist() == prompt.prompt_ids.tolist()
    half = load_policy(str(folder), dtype="bfloat16", device="cpu").model
    assert {(p.requires_grad, p.dtype) for p in half.parameters()} == {(False, torch.bfloat16), (True, torch.float32)}
    assert not any(p.requires_grad for p in load_policy(str(folder), device="cpu", trainable=False).model.parameters())
    for file in folder.glob("tok*"):  # an adapter from elsewhere often brings no tokenizer
        file.unlink()
    assert len(load_policy(str(folder), device="cpu").encoder.encode(example(base, 0), ASK).prompt_ids) > 5


def test_a_checkpoint_may_go_before_the_next_is_saved(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    load_policy(str(tiny("qwen2_5_vl")), device="cpu").save(tmp_path / "first")
    policy = load_policy(str(tmp_path / "first"), device="cpu")
    (tmp_path / "first").rename(tmp_path / "gone")
    policy.save(tmp_path / "second")
    wanted = (tiny("qwen2_5_vl") / "preprocessor_config.json").read_bytes()
    assert (tmp_path / "second" / "preprocessor_config.json").read_bytes() == wanted


def test_saving_asks_no_hub(tiny: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: Any, **__: Any) -> Any:
        raise AssertionError("a request to the hub")

    policy = load_policy(EMBEDDED, lora=Lora(r=2), device="cpu")
    monkeypatch.setattr("peft.utils.save_and_load.check_file_exists_on_hf_hub", forbidden)
    policy.save(tmp_path / "adapter")


@pytest.mark.parametrize("lora", [None, Lora(r=2)])
def test_reference_swaps_exactly(tiny: Callable[[str], Path], lora: Lora | None) -> None:
    policy = load_policy(str(tiny("llama")), lora=lora, device="cpu")
    group = Group(policy.encoder.encode(example("llama"), ASK).prompt_ids, {}, [policy.tokens("<answer>A</answer>")])
    policy.model.eval()

    @torch.no_grad()
    def logps() -> torch.Tensor:
        return unshared_logps(policy.model, [group]).logp_PGT

    first = logps()
    reference = Reference(policy)
    with torch.no_grad():
        for p in policy.model.parameters():
            if p.requires_grad:
                p.add_(0.05)
    moved, kept = logps(), {name: p.clone() for name, p in policy.model.named_parameters()}
    assert not torch.equal(first, moved)
    with suppress(ZeroDivisionError), reference.active(policy):  # swapped back whatever happens
        assert torch.equal(logps(), first)
        raise ZeroDivisionError
    assert torch.equal(logps(), moved)
    assert all(torch.equal(p, kept[name]) for name, p in policy.model.named_parameters())
    restored = Reference(policy, reference.state())
    with restored.active(policy):
        assert torch.equal(logps(), first)


@pytest.mark.parametrize("lora", [None, Lora(r=2)])
@pytest.mark.parametrize("kind", ["qwen2_5_vl", "idefics3"])
def test_gradient_checkpointing(tiny: Callable[[str], Path], kind: str, lora: Lora | None) -> None:
    results = []
    for checkpointing in (False, True):
        policy = load_policy(str(tiny(kind)), lora=lora, gradient_checkpointing=checkpointing, device="cpu")
        prompt = policy.encoder.encode(example(kind), ASK)
        policy.model.train()
        group = Group(prompt.prompt_ids, prompt.media, [policy.tokens("<answer>A</answer>"), policy.tokens("B")])
        out = shared_logps(policy.model, [group]).logp_PGT
        torch.autograd.backward(out.sum())
        grads = {name: p.grad for name, p in policy.model.named_parameters() if p.grad is not None}
        results.append((out.detach(), grads))
        completions = generate(policy, [prompt], 1, Sampling(temperature=0, max_new_tokens=3))
        assert len(completions[0][0].ids) > 0
        assert policy.model.training
    (left, a), (right, b) = results
    assert torch.allclose(left, right, atol=1e-5)
    assert a.keys() == b.keys() != set()
    assert all(torch.allclose(a[name], b[name], rtol=1e-3, atol=1e-4) for name in a)


def test_encoding_opens_no_file(tiny: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """A prompt's text is data: nothing in it is opened, whatever it looks like."""
    policy = load_policy(str(tiny("qwen2_5_vl")), device="cpu")
    shown = Example((Media("image", Image.new("RGB", (40, 40))), "file:///etc/passwd http://x/y.png {{ 7 * 7 }}"), "A")

    def forbidden(*_: Any, **__: Any) -> Any:
        raise AssertionError("a file was opened")

    monkeypatch.setattr(builtins, "open", forbidden)
    ids = policy.encoder.encode(shown, ASK).prompt_ids
    assert "file:///etc/passwd http://x/y.png {{ 7 * 7 }}" in policy.encoder.tokenizer.decode(ids)
