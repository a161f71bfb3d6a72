"""Weights by what was earned: each strategy on outcomes written out, and the same again after a checkpoint."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import ssl4rl
from ssl4rl.core.curriculum import Curriculum, Outcome, open_curriculum
from ssl4rl.core.dataset import TaskDataset
from ssl4rl.core.recipe.sections import CurriculumSection
from ssl4rl.core.task import keyed_rng
from ssl4rl.core.types import Score, Ssl4rlError
from tests.fakes import FAKES

LETTER, PAIR = f"{FAKES}:letter", f"{FAKES}:pair"
LEVELS = ["easy", "easy,share=0.7", "hard"]


def dataset(**changes: Any) -> TaskDataset:
    return ssl4rl.create_dataset([{"task": LETTER, "levels": LEVELS, **changes}])


def opened(data: TaskDataset | None = None, steps: int = 100, **settings: Any) -> Curriculum:
    return open_curriculum(CurriculumSection(**settings), dataset() if data is None else data, steps)


def group(arm: int, success: float) -> Outcome:
    """A group of right-or-wrong completions, one in five by guessing, with the variance expected at that success."""
    return Outcome(arm, success, success, success * (1 - success), 0.2, 0.2)


def show(curriculum: Curriculum, step: int, *successes: float, times: int = 8) -> list[float]:
    """Some groups of every arm; the weights that follow."""
    curriculum.observe([group(arm, p) for arm, p in enumerate(successes) for _ in range(times)], step)
    return curriculum.weights


def test_an_outcome_is_the_groups_own_variance() -> None:
    scores = [Score(1.0, "correct"), Score(0.0, "unparsed"), Score(0.5, "partial"), Score(0.5, "partial")]
    outcome = Outcome.of(3, scores, 0.1, 0.2)
    assert (outcome.arm, outcome.success, outcome.value, outcome.chance, outcome.guess) == (3, 0.25, 0.5, 0.1, 0.2)
    assert outcome.signal == pytest.approx(0.5 / 3)  # squares .25, .25, 0, 0 over n - 1


def test_averages_fade() -> None:
    curriculum = opened(memory=2)
    curriculum.observe([group(0, 1.0), group(0, 0.0)], 1)
    stats = curriculum.stats(1).arms
    assert (stats[0].groups, stats[1].groups) == (2, 0)
    assert stats[0].success == pytest.approx(0.5 / 1.5)
    assert stats[1].success == 0.0
    assert stats[0].skill == pytest.approx((1 / 3 - 0.2) / 0.8)


def test_fixed_keeps_the_recipes_shares_and_uniform_none() -> None:
    data = ssl4rl.create_dataset(
        [{"task": LETTER, "levels": LEVELS, "shares": [0, 1, 3], "weight": 3}, {"task": PAIR, "weight": 1}]
    )
    fixed = opened(data)
    assert fixed.weights == pytest.approx([0, 3 / 16, 9 / 16, 1 / 4])
    assert show(fixed, 1, 1.0, 0.5, 0.0, 0.0) == pytest.approx([0, 3 / 16, 9 / 16, 1 / 4])
    assert opened(data, strategy="uniform").weights == pytest.approx([1 / 4] * 4)
    assert fixed.start == pytest.approx([1 / 4] * 4)
    assert [arm.target for arm in fixed.arms] == [False, False, True, True]


def test_staged_goes_on_after_patience_and_stays_at_the_target() -> None:
    curriculum = opened(strategy="staged", threshold=0.75, patience=2, keep=0.2, memory=8)
    assert curriculum.weights == [1, 0, 0]
    assert show(curriculum, 1, 0.9) == [1, 0, 0]
    assert show(curriculum, 2, 0.9) == pytest.approx([0.2, 0.8, 0])
    assert show(curriculum, 3, 0.9, 0.9) == pytest.approx([0.2, 0.8, 0])
    assert show(curriculum, 4, 0.9, 0.1) == pytest.approx([0.2, 0.8, 0]), "the streak was broken"
    for step in range(5, 9):
        show(curriculum, step, 0.9, 1.0)
    assert curriculum.weights == pytest.approx([0.1, 0.1, 0.8])
    for step in range(9, 13):
        show(curriculum, step, 1.0, 1.0, 1.0)
    assert curriculum.weights == pytest.approx([0.1, 0.1, 0.8])
    ended = opened(strategy="staged", patience=1, target="easy,share=0.7")
    for step in range(1, 5):
        show(ended, step, 1.0, 1.0, 1.0)
    assert ended.weights == pytest.approx([0.2, 0.8, 0])


def test_goldilocks_looks_at_every_level_then_starts_at_the_easiest() -> None:
    curriculum = opened(strategy="goldilocks", rate=1.0, floor=0.1, anneal=1e9)
    assert curriculum.weights == pytest.approx([1 / 3] * 3)
    assert show(curriculum, 1, 0.2, 0.2, 0.2, times=4) == pytest.approx([1 / 3] * 3)
    # it guesses everywhere: the variance of the harder levels is that of guessing
    assert show(curriculum, 2, 0.2, 0.2, 0.2, times=4) == pytest.approx([0.8, 0.1, 0.1])


def test_goldilocks_shares_by_signal_what_is_within_reach() -> None:
    curriculum = opened(strategy="goldilocks", rate=1.0, floor=0.1, patience=2, anneal=1e9)
    for step in (1, 2):
        weights = show(curriculum, step, 0.8, 0.3, 0.2)
    # p(1-p) is .16 and .21, the target is out of reach
    assert weights == pytest.approx([0.1 + 0.7 * 0.16 / 0.37, 0.1 + 0.7 * 0.21 / 0.37, 0.1])


def test_goldilocks_goes_beyond_a_mastered_level_though_the_next_is_on_the_floor() -> None:
    curriculum = opened(strategy="goldilocks", rate=1.0, floor=0.1, patience=1, anneal=1e9)
    assert show(curriculum, 1, 0.9, 0.2, 0.2) == pytest.approx([0.1 + 0.7 * 0.09 / 0.25, 0.1 + 0.7 * 0.16 / 0.25, 0.1])


def test_goldilocks_ends_at_the_target_once_that_is_off_the_floor() -> None:
    curriculum = opened(strategy="goldilocks", rate=1.0, floor=0.08, patience=2, memory=100, anneal=1e9)
    assert show(curriculum, 1, 0.5, 0.4, 0.4, times=400) == pytest.approx([0.84, 0.08, 0.08])
    # patience is over; the target has .24 of the largest signal's .25, so a pull of .96 and a floor of .0224
    found = show(curriculum, 2, 0.5, 0.4, 0.4, times=400)
    by_signal = 0.24 / (0.25 + 0.24 + 0.24)
    assert found[2] == pytest.approx(0.0224 + (1 - 3 * 0.0224) * (0.04 * by_signal + 0.96))
    for step in range(3, 8):
        show(curriculum, step, 1.0, 0.9, 0.7, times=400)
    assert curriculum.weights == pytest.approx([0.02, 0.02, 0.96])


def test_goldilocks_is_pulled_up_as_the_run_goes_on() -> None:
    """Level 1 gives less signal than level 0, yet is where the run is at half time; the target is out of reach."""
    curriculum = opened(strategy="goldilocks", rate=1.0, floor=0.08, patience=1, memory=100, anneal=0.5, steps=100)
    shares = [show(curriculum, step, 0.5, 0.35, 0.2, times=400)[1] for step in (1, 2, 25, 50, 99)]
    assert shares == sorted(shares)
    assert shares[0] < 0.5
    assert shares[-2:] == pytest.approx([0.84, 0.84])  # the floor stays: the target must be seen to come within reach
    assert opened(strategy="goldilocks", anneal=10).stats(5).toward(10) == 0.5


def test_goldilocks_moves_slowly_and_not_for_a_single_step() -> None:
    curriculum = opened(strategy="goldilocks", rate=0.2, memory=100, patience=3)
    before = curriculum.weights
    after = show(curriculum, 1, 0.5, 0.0, 0.0, times=400)
    assert 0 < after[0] - before[0] < 0.2
    frontiers = []
    # the middle level looks within reach for two steps, then for good; one bad step does not bring it back
    for step, middle in enumerate((0.4, 0.4, 0.2, 0.4, 0.4, 0.4, 0.2, 0.4, 0.2, 0.2, 0.2), start=2):
        show(curriculum, step, 0.5, middle, 0.0, times=400)
        frontiers.append(curriculum.strategy.state()["frontier"]["0"])
    assert frontiers == [0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 0]


def test_goldilocks_does_not_flap_where_a_level_is_just_mastered() -> None:
    curriculum = opened(strategy="goldilocks", patience=1, memory=100, threshold=0.5)
    frontiers = []
    # skill (p - .2) / .8 of the first level: .55, then .45 and .40 (above 3/4 of the threshold), then .35
    for step, first in enumerate((0.64, 0.56, 0.52, 0.48), start=1):
        show(curriculum, step, first, 0.2, 0.2, times=800)
        frontiers.append(curriculum.strategy.state()["frontier"]["0"])
    assert frontiers == [1, 1, 1, 0]


def test_a_few_lucky_guesses_are_no_skill() -> None:
    """Half of two answers is chance: .6 of 32 groups is luck, .8 of them is not."""
    curriculum = opened(strategy="goldilocks", patience=1)

    def frontier(success: float) -> int:
        outcomes = [Outcome(arm, p, p, p * (1 - p), 0.5, 0.5) for arm, p in enumerate((0.5, success, 0.5))]
        for step in range(1, 33):
            curriculum.observe(outcomes, step)
        return int(curriculum.strategy.state()["frontier"]["0"])

    assert frontier(0.6) == 0
    assert curriculum.stats(32).arms[1].skill > 0.1 > curriculum.stats(32).arms[1].sure_skill(32)
    assert frontier(0.8) == 1


def learnt(strategy: str, shares: Sequence[float] | None = None) -> float:
    """The target's success at the end, for a learner that learns a level the faster, the nearer to half it knows it.

    Its skill at a level is a logistic function of one strength minus the level's difficulty; what it does not know it
    guesses, right one time in two, four and fifty. Guessed groups have variance too and teach nothing.
    """
    rng, difficulty, chance, strength = keyed_rng("toy"), (0.0, 3.0, 6.0), (0.5, 0.25, 0.02), -1.5
    curriculum = opened(dataset(shares=shares) if shares else None, steps=120, strategy=strategy)
    for step in range(1, 121):
        seen, gain = [], 0.0
        for arm in rng.choice(3, 32, p=curriculum.weights):
            skill = 1 / (1 + math.exp(difficulty[arm] - strength))
            right = rng.random(8) < chance[arm] + (1 - chance[arm]) * skill
            p = float(right.mean())
            seen.append(Outcome(int(arm), p, p, float(right.var(ddof=1)), chance[arm], chance[arm]))
            gain += skill * (1 - skill) * (0 < p < 1)
        strength += 0.02 * gain
        curriculum.observe(seen, step)
    return chance[2] + (1 - chance[2]) / (1 + math.exp(difficulty[2] - strength))


def test_on_a_learner_that_cannot_start_at_the_target() -> None:
    hard = learnt("fixed", [0, 0, 1])
    easy = learnt("fixed", [1, 0, 0])
    assert max(hard, easy, learnt("uniform")) < 0.3
    assert min(learnt("goldilocks"), learnt("staged")) > 0.8


def test_levels_beyond_the_target_are_left_alone_and_tasks_keep_their_share() -> None:
    data = ssl4rl.create_dataset([{"task": LETTER, "levels": LEVELS, "weight": 3}, {"task": PAIR, "levels": "all"}])
    curriculum = opened(data, strategy="goldilocks", target="easy")
    assert [arm.target for arm in curriculum.arms] == [True, False, False, True, False]
    for step in range(1, 9):
        weights = show(curriculum, step, 0.5, 0.5, 0.5, 0.2, 0.2)
    assert weights == pytest.approx([0.75, 0, 0, 0.25, 0])


@pytest.mark.parametrize("strategy", ["fixed", "uniform", "staged", "goldilocks"])
def test_a_checkpoint_goes_on_as_if_nothing_had_been(strategy: str) -> None:
    def earned(step: int) -> Sequence[float]:
        return (min(1.0, 0.3 + step / 20), min(1.0, step / 30), step / 60)

    straight = opened(strategy=strategy, memory=8)
    weights = [list(show(straight, step, *earned(step))) for step in range(1, 40)]
    first = opened(strategy=strategy, memory=8)
    for step in range(1, 20):
        show(first, step, *earned(step))
    kept = json.loads(json.dumps(first.state()))
    second = opened(strategy=strategy, memory=8)
    second.load(kept)
    assert second.weights == weights[18]
    assert [list(show(second, step, *earned(step))) for step in range(20, 40)] == weights[19:]
    assert second.state() == straight.state()


OWN = '''
from ssl4rl import Strategy

class Narrow(Strategy):
    """Whatever is nearest to `aim`."""

    def __init__(self, arms, aim=0.5):
        super().__init__(arms)
        self.aim = aim

    def weights(self, stats):
        return [1 / (0.1 + abs(s.success - self.aim)) for s in stats.arms]

class Silent(Strategy):
    def weights(self, stats):
        return [0 for _ in stats.arms]

class NoStrategy:
    pass
'''


def test_a_strategy_of_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "own_strategy.py"
    file.write_text(OWN)
    curriculum = opened(strategy=f"{file}:Narrow", options={"aim": 0.9}, memory=4)
    assert show(curriculum, 1, 0.9, 0.4, 0.9) == pytest.approx([10 / (20 + 1 / 0.6), 1 / 13, 10 / (20 + 1 / 0.6)])
    assert list(curriculum.log()) == ["weights"]
    for name, options, message in (
        ("Silent", {}, r"Silent.weights gave \[0.0, 0.0, 0.0\] at step 0; allowed: 3 numbers >= 0, not all 0"),
        ("Narrow", {"goal": 1}, r"Narrow cannot be made with {'goal': 1}"),
        ("NoStrategy", {}, r"has no subclass of ssl4rl.Strategy named 'NoStrategy'"),
        ("Nothing", {}, r"has no subclass of ssl4rl.Strategy named 'Nothing'"),
    ):
        with pytest.raises(Ssl4rlError, match=message):
            opened(strategy=f"{file}:{name}", options=options)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"strategy": "goldilock"}, "curriculum.strategy: unknown strategy 'goldilock'; did you mean 'goldilocks'?"),
        ({"strategy": "no/such.py:A"}, "plugin file 'no/such.py' does not exist"),
        ({"target": "hrad"}, "curriculum.target: no task has the level 'hrad'; did you mean 'hard'?"),
        (
            {"options": {"a": 1}},
            "curriculum.options are for a strategy of one's own, './my.py:Class'; fixed takes none",
        ),
    ],
)
def test_mistakes_are_explained(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(Ssl4rlError) as error:
        opened(**settings)
    assert str(error.value) == message


def test_two_arms_alike_on_different_data_have_different_names() -> None:
    data = ssl4rl.create_dataset([{"task": LETTER, "data": "many:50"}, {"task": LETTER, "data": "many:70"}])
    assert [arm.name for arm in opened(data).arms] == ["fakes/letter@1[easy] many:50", "fakes/letter@1[easy] many:70"]
    assert opened().log()["weights"] == {
        "fakes/letter@1[easy]": 0.333333,
        "fakes/letter@1[easy,share=0.7]": 0.333333,
        "fakes/letter@1[hard]": 0.333333,
    }


class Forgetful(ssl4rl.Strategy):
    """Remembers what JSON cannot hold."""

    def weights(self, stats: Any) -> list[float]:
        return [1.0] * len(stats.arms)

    def state(self) -> dict[str, Any]:
        return {"seen": {1, 2}}


def test_a_memory_that_cannot_be_stored_is_refused_at_once(tmp_path: Path) -> None:
    file = tmp_path / "forgetful.py"
    file.write_text("from tests.core.test_curriculum import Forgetful\n")
    dataset = ssl4rl.create_dataset(f"{FAKES}:letter")
    with pytest.raises(Ssl4rlError) as error:
        open_curriculum(CurriculumSection(strategy=f"{file}:Forgetful"), dataset)
    assert str(error.value) == (
        "curriculum.strategy: Forgetful.state gives what JSON cannot hold: Object of type set is not JSON serializable"
    )
