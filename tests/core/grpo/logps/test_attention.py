"""Split attention against a dense mask written out token by token."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.attention.flex_attention import create_block_mask, create_mask

from ssl4rl.core.grpo.logps import flexible
from ssl4rl.core.grpo.logps.attention import ATTENTION, concatenated_attention, install, merged_attention
from ssl4rl.core.grpo.logps.flexible import flexible_attention, row_mask
from ssl4rl.core.grpo.logps.layout import Layout, layout
from tests.core.grpo.cases import load

CPU = torch.device("cpu")
LAYOUTS = {
    "even": ([5], [[3, 3, 3]]),
    "ragged": ([7], [[1, 4, 2]]),
    "two prompts": ([4, 6], [[2, 5], [3, 3, 1]]),
    "empty prompt": ([0, 3], [[2, 3], [4]]),
    "one branch": ([6], [[1]]),
}


def dense_mask(prompts: list[int], branches: list[list[int]]) -> Tensor:
    """[S, S] bool: may the row's token see the column's? Spelled out from each token's prompt, branch and step."""
    tokens: list[tuple[int, int | None, int]] = [(p, None, i) for p, n in enumerate(prompts) for i in range(n)]
    tokens += [(p, g, i) for p, lengths in enumerate(branches) for g, n in enumerate(lengths) for i in range(n)]
    return torch.tensor(
        [
            [p == q and ((g == h and j <= i) or (g is not None and h is None)) for q, h, j in tokens]
            for p, g, i in tokens
        ]
    )


def dense_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor, scale: float) -> Tensor:
    repeat = q.shape[1] // k.shape[1]
    k, v = (x.repeat_interleave(repeat, dim=1) for x in (k, v))
    scores = (q @ k.transpose(-1, -2) * scale).masked_fill(~mask, -torch.inf)
    return (scores.softmax(-1) @ v)[0].transpose(0, 1)


def inputs(tokens: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    """q of 4 heads, k and v of 2, laid out as projections leave them: [1, S, H, D] transposed."""
    generator = torch.Generator().manual_seed(0)
    shapes = ((1, tokens, 4, 8), (1, tokens, 2, 8), (1, tokens, 2, 8))
    tensors = [torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype) for shape in shapes]
    return tuple(x.transpose(1, 2).detach().requires_grad_() for x in tensors)  # type: ignore[return-value]


def run(attend: Callable[..., Tensor], tensors: tuple[Tensor, ...], *more: object) -> list[Tensor]:
    out_SHD = attend(*tensors, *more)
    weight = torch.randn(out_SHD.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return [out_SHD, *torch.autograd.grad((weight * out_SHD).sum(), tensors)]


@pytest.mark.parametrize("attend", [merged_attention, concatenated_attention])
@pytest.mark.parametrize("name", LAYOUTS)
def test_equals_dense_mask(name: str, attend: Callable[..., Tensor]) -> None:
    prompts, branches = LAYOUTS[name]
    plan = layout(prompts, branches, CPU)
    tensors = inputs(plan.tokens)
    expected = run(dense_attention, tensors, dense_mask(prompts, branches), 0.3)
    for ours, theirs in zip(run(attend, tensors, plan, 0.3), expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=1e-10)


@pytest.mark.usefixtures("flexible_with_gradients")
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")  # dynamo looks at it
@pytest.mark.parametrize("scale", [0.3, 8**-0.5])
def test_flexible_attention_equals_dense_mask(scale: float) -> None:
    for prompts, branches in (*LAYOUTS.values(), ([300], [[40, 77, 3]])):
        plan = layout(prompts, branches, CPU)
        tensors = inputs(plan.tokens)
        expected = run(dense_attention, tensors, dense_mask(prompts, branches), scale)
        for ours, theirs in zip(run(flexible_attention, tensors, plan, scale), expected, strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=1e-10)
        assert row_mask(plan, CPU) is row_mask(plan, CPU)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method:DeprecationWarning")  # torch 2.13's own
def test_flexible_attention_compiled_for_all_lengths(monkeypatch: pytest.MonkeyPatch) -> None:
    """The nearest to a GPU: PyTorch compiles the forward pass for the CPU. A second length compiles nothing."""
    from torch._inductor.compile_fx import compile_fx

    graphs = 0

    def counting(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Callable[..., Any]:
        nonlocal graphs
        graphs += 1
        calls = [node for node in graph.graph.nodes if "flex_attention" in str(node.target) and len(node.args) > 5]
        assert [type(node.args[5]) for node in calls] == [float], "the kernel wants the scale as a constant"
        return compile_fx(graph, inputs)  # type: ignore[no-any-return]

    torch._dynamo.reset()
    ready = torch.compile(flexible.flex_attention, dynamic=True, fullgraph=True, backend=counting)
    monkeypatch.setattr(flexible, "_ready", lambda device: ready)
    for prompts, branches in (([300], [[40, 77, 3]]), ([150, 90], [[64, 64], [10, 5, 31]]), ([500], [[200] * 4])):
        plan = layout(prompts, branches, CPU)
        for scale in (0.3, 8**-0.5):
            q, k, v = (x.detach() for x in inputs(plan.tokens, torch.float32))
            ours = flexible_attention(q, k, v, plan, scale)
            theirs = dense_attention(q, k, v, dense_mask(prompts, branches), scale)
            torch.testing.assert_close(ours, theirs, atol=2e-6, rtol=1e-5)
    assert graphs == 1


@pytest.mark.parametrize("lengths", [([300], [[256, 256, 200]]), ([2, 131], [[1, 126], [128, 3]]), ([0], [[5, 2]])])
def test_the_block_mask_is_pytorchs(lengths: tuple[list[int], list[list[int]]]) -> None:
    plan = layout(*lengths, CPU)
    ours = row_mask(plan, CPU)
    theirs = create_block_mask(ours.mask_mod, None, None, plan.tokens, plan.tokens, device="cpu")
    assert ours.shape == theirs.shape
    for left, right in zip(ours.as_tuple()[:10], theirs.as_tuple()[:10], strict=True):
        if isinstance(left, Tensor):
            assert left.dtype == right.dtype
            assert torch.equal(left, right)
        else:
            assert left == right
    written = create_mask(ours.mask_mod, None, None, plan.tokens, plan.tokens, device="cpu")
    assert torch.equal(written[0, 0], dense_mask(*lengths))


def test_the_block_mask_of_a_long_row_skips_what_no_token_sees() -> None:
    plan = layout([300], [[256, 256, 200]], CPU)
    blocks = row_mask(plan, CPU)
    seen = torch.zeros(plan.tokens, plan.tokens, dtype=torch.bool)
    spelled = dense_mask([300], [[256, 256, 200]])
    tables = ((blocks.kv_indices, blocks.kv_num_blocks), (blocks.full_kv_indices, blocks.full_kv_num_blocks))
    for row in range(8):
        for columns, count in tables:
            assert columns is not None
            assert count is not None
            for column in columns[0, 0, row, : count[0, 0, row]].tolist():
                seen[row * 128 : row * 128 + 128, column * 128 : column * 128 + 128] = True
    assert seen[spelled].all()
    assert seen.float().mean() < 0.55


def test_large_scores_do_not_overflow() -> None:
    plan = layout([6], [[1, 5, 2]], CPU)
    q, k, v = inputs(plan.tokens, torch.float32)
    tensors = ((q * 30).detach().requires_grad_(), (k * 30).detach().requires_grad_(), v)
    for ours, theirs in zip(
        run(merged_attention, tensors, plan, 1.0), run(concatenated_attention, tensors, plan, 1.0), strict=True
    ):
        assert ours.isfinite().all()
        torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=1e-3)


def test_bfloat16_keeps_dtype() -> None:
    prompts, branches = LAYOUTS["two prompts"]
    plan = layout(prompts, branches, CPU)
    tensors = inputs(plan.tokens, torch.bfloat16)
    expected = run(
        dense_attention,
        tuple(x.detach().double().requires_grad_() for x in tensors),
        dense_mask(prompts, branches),
        0.3,
    )
    for ours, theirs in zip(run(merged_attention, tensors, plan, 0.3), expected, strict=True):
        assert ours.dtype == torch.bfloat16
        assert (ours.double() - theirs).norm() < 0.02 * theirs.norm()


def test_branches_do_not_see_each_other() -> None:
    plan = layout([4], [[3, 3]], CPU)
    q, k, v = (x.detach() for x in inputs(plan.tokens))
    before = merged_attention(q, k, v, plan, 0.3)
    k[:, :, 4:7] += 1.0
    v[:, :, 4:7] += 1.0
    changed = (merged_attention(q, k, v, plan, 0.3) - before).abs().amax((1, 2)) > 0
    assert changed.tolist() == [False] * 4 + [True] * 3 + [False] * 3


def test_layout_places_pieces() -> None:
    plan = layout([2, 0], [[1, 3], [2, 2]], CPU)
    first, second = plan.spans
    assert (first.prompt_start, first.prompt_end, first.start, first.end) == (0, 2, 2, 6)
    assert (second.prompt_start, second.prompt_end, second.start, second.end) == (2, 2, 6, 10)
    assert first.gather_GT is not None
    assert first.gather_GT.tolist() == [[0, 0, 0], [1, 2, 3]]
    assert first.pack_N is not None
    assert first.pack_N.tolist() == [0, 3, 4, 5]
    assert second.gather_GT is None
    assert plan == Layout(plan.spans, prompt_tokens=2, tokens=10)


@pytest.mark.parametrize("kind", ["llama", "qwen2_5_vl"])
def test_install_leaves_ordinary_calls_alone(kind: str, tiny: Callable[[str], Path]) -> None:
    model = load(kind, tiny(kind)).eval()
    ids = torch.randint(5, 250, (2, 9), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    mask[1, :4] = 0
    before = model(input_ids=ids, attention_mask=mask).logits
    generated = model.generate(input_ids=ids, attention_mask=mask, max_new_tokens=6, do_sample=False)
    assert install(model) == "sdpa"
    assert model.config.get_text_config()._attn_implementation == ATTENTION
    torch.testing.assert_close(model(input_ids=ids, attention_mask=mask).logits, before, atol=0, rtol=0)
    again = model.generate(input_ids=ids, attention_mask=mask, max_new_tokens=6, do_sample=False)
    assert again.tolist() == generated.tolist()
    if kind == "qwen2_5_vl":
        assert model.config.vision_config._attn_implementation == "sdpa"
    assert install(model, "sdpa") == ATTENTION
    assert model.config.get_text_config()._attn_implementation == "sdpa"
