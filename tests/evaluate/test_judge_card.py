"""A judge's card: what is right on the shipped pairs, and which judges fail it."""

import json
from collections import Counter
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from trueseed.core.chat import Request
from trueseed.evaluate import judge_card
from trueseed.evaluate.judge_card import GOLD, GOLD_SOURCE, contestants, rivals
from trueseed.evaluate.pairwise import ORDERS, Opinion, judged
from trueseed.evaluate.task import Config, read
from trueseed.evaluate.verdicts import Order
from trueseed.teachers.judge import Judge, Ruling, Side
from trueseed.teachers.scripted import ScriptedTeacher

SAMPLES = read(Config(scorer="gold", file=str(GOLD), source=GOLD_SOURCE)).samples  # raises where a check is wrong
RIGHT = {sample.row["right"] for sample in SAMPLES}


def shown(request: Request) -> tuple[str, str]:
    text = request.messages[0].content
    first, second = (
        text.split(f"<answer {side} ")[1].split(">\n", 1)[1].split(f"\n</answer {side}")[0] for side in "AB"
    )
    return first, second


def knows(request: Request) -> str:
    return f'{{"winner": "{"A" if shown(request)[0] in RIGHT else "B"}"}}'


def longer(request: Request) -> str:
    first, second = map(len, shown(request))
    return f'{{"winner": "{"A" if first > second else "B" if second > first else "tie"}"}}'


def card(script, own=None):
    judge = Judge(ScriptedTeacher("own/judge", script))
    its = list(judged(*rivals(SAMPLES, own, "own/judge"), judge)) if own else None
    return judge_card.of(SAMPLES, list(judged(SAMPLES, *contestants(SAMPLES), judge)), its, seed=1)


def test_the_shipped_pairs_are_of_three_kinds_and_length_tells_nothing():
    kinds = Counter(each.row.get("kind", "plain") for each in SAMPLES)
    assert kinds == {"plain": 60, "reworded": 20, "denial": 20}
    for kind, n in kinds.items():
        some = [each.row for each in SAMPLES if each.row.get("kind", "plain") == kind]
        assert 0.4 * n <= sum(len(row["right"]) > len(row["wrong"]) for row in some) <= 0.5 * n
    sides = Counter(contestants(SAMPLES)[0].answers[each.id] in RIGHT for each in SAMPLES)
    assert sides == {True: 50, False: 50}


def names_it(row: dict[str, Any], side: str) -> bool:
    return row["reference"].casefold() in row[side].casefold()


def test_in_other_words_is_without_the_reference_and_a_denial_has_it_on_both_sides():
    """Else whoever looks for its words, and understands nothing, would tell them apart."""
    rows = [each.row for each in SAMPLES if each.row.get("kind")]
    assert not any(names_it(row, side) for row in rows if row["kind"] == "reworded" for side in ("right", "wrong"))
    assert all(names_it(row, side) for row in rows if row["kind"] == "denial" for side in ("right", "wrong"))


def test_a_judge_that_only_looks_for_the_words_of_the_reference_fails_by_kind():
    references = {each.row[side]: each.row.get("reference") for each in SAMPLES for side in ("right", "wrong")}

    def looks(request: Request) -> str:
        has = [(references[text] or text).casefold() in text.casefold() for text in shown(request)]
        if has[0] == has[1] and not references[shown(request)[0]]:
            return knows(request)  # there is nothing to look for
        return f'{{"winner": "{"tie" if has[0] == has[1] else "A" if has[0] else "B"}"}}'

    found = card(looks)
    assert found.figures["agreement_plain"].value >= 0.9
    assert found.figures["agreement_reworded"].value == found.figures["agreement_denial"].value == 0.0
    assert {"agreement_reworded", "agreement_denial"} <= found.failed.keys()
    assert found.to_json()["limits"]["agreement_denial"] == "lower end at least 0.5"


def test_pairs_of_one_kind_have_no_figure_by_kind_and_few_of_a_kind_no_verdict():
    judge = Judge(ScriptedTeacher("own/judge", knows))
    for some, told in (
        (SAMPLES[:30], {}),
        (SAMPLES[45:75], {"agreement_reworded": "fewer than 20 questions are of this kind"}),
    ):
        found = judge_card.of(some, list(judged(some, *contestants(some), judge)), None)
        assert {name: why for name, why in found.told.items() if "reworded" in name} == told
        assert not found.figures.keys() & {"agreement_plain", "agreement_reworded"}
        assert found.passed


def test_pairs_of_one_question_are_as_sure_as_there_are_questions():
    """A judge who is right of whole questions, on 24 of them and on four pairs of each."""
    once = SAMPLES[:24]
    known = {each.prompt for each in once[:14]}

    def knows_some(request: Request) -> str:
        right = "A" if shown(request)[0] in RIGHT else "B"
        told = any(prompt in request.messages[0].content for prompt in known)
        return f'{{"winner": "{right if told else "AB"[right == "A"]}"}}'

    def found(samples):
        judge = Judge(ScriptedTeacher("own/judge", knows_some))
        return judge_card.of(samples, list(judged(samples, *contestants(samples), judge)), None, seed=1)

    often = [replace(each, id=f"{each.id}:{n}") for each in once for n in range(4)]
    alone, four = found(once), found(often)
    assert (four.pairs, four.figures["agreement"].n) == (96, 24)
    for name in ("agreement", "kappa", "flip_rate", "order_bias"):
        one, other = alone.figures[name], four.figures[name]
        assert other.value == pytest.approx(one.value, abs=1e-9)
        assert other.high - other.low > 0.9 * (one.high - one.low)
    assert set(found([replace(once[0], id=str(n)) for n in range(30)]).failed) >= {"agreement", "kappa"}


def test_a_judge_that_knows_passes():
    found = card(knows)
    assert found.failed == {}
    assert found.figures["agreement"].value == found.figures["kappa"].value == 1.0
    assert found.figures["order_bias"].value == found.figures["length_bias"].value == 0.0
    assert found.told == {"self_preference": "its own answers could not be had", "brier": "it gives no chances"}
    assert found.cost["calls"] == 2


def test_a_judge_that_always_says_a_fails():
    found = card(lambda _: '{"winner": "A"}')
    assert found.figures["flip_rate"].value == 1.0
    assert found.figures["order_bias"].value == 0.5
    assert {"agreement", "kappa", "flip_rate", "order_bias"} <= found.failed.keys()


def test_a_judge_that_goes_by_length_fails():
    found = card(longer)
    assert found.shares["longer_won"].value == 1.0
    assert found.figures["length_bias"].value > 0.3
    assert {"agreement", "length_bias"} <= found.failed.keys()
    assert "flip_rate" not in found.failed


@pytest.mark.parametrize("reply", ["B, clearly.", "I'm sorry, but I can't help with that."])
def test_a_judge_without_verdicts_has_no_figures_but_that(reply):
    found = card(lambda _: reply)
    assert found.figures["no_verdict"].value == 1.0
    assert found.figures["agreement"].value == 0.0
    assert not found.figures.keys() & {"kappa", "flip_rate", "order_bias", "length_bias"}
    assert found.failed["kappa"] == "not known: fewer than 20 questions were decided"
    assert {"agreement", "no_verdict", "flip_rate"} <= found.failed.keys()


def test_a_judge_at_random_fails():
    rng = Random(3)
    assert "agreement" in card(lambda _: f'{{"winner": "{rng.choice("AB")}"}}').failed


@pytest.mark.parametrize("seed", range(4))
def test_figures_are_what_counting_one_by_one_gives(seed):
    """Of a judge who says anything, and sometimes nothing."""
    rng, (a, b) = Random(seed), contestants(SAMPLES)
    value: dict[tuple[str, str], Side | None] = {
        (each.id, order): rng.choice(["first", "first", "second", "tie", None]) for each in SAMPLES for order in ORDERS
    }
    said = [Opinion(sample=name, order=order, ruling=Ruling(value=it)) for (name, order), it in value.items()]
    found = judge_card.of(SAMPLES, said, said, seed=seed)

    pairs, decided, agreed, flipped, first, longer, due, own = [], 0, 0, 0, [], [], [], []
    for place, each in enumerate(SAMPLES):
        right = "a" if place % 2 == 0 else "b"
        sides = {"ab": {"first": "a", "second": "b"}, "ba": {"first": "b", "second": "a"}}
        one, other = (sides[order].get(it, it) for order in ORDERS for it in [value[each.id, order]])
        for order, winner in zip(ORDERS, (one, other), strict=True):
            if winner in ("a", "b"):
                first.append(value[each.id, order] == "first")
                own.append(winner == "a")
                if len(a.answers[each.id]) != len(b.answers[each.id]):
                    more = "a" if len(a.answers[each.id]) > len(b.answers[each.id]) else "b"
                    longer.append(winner == more)
                    due.append(right == more)
        if one and other:
            decided, flipped = decided + 1, flipped + (one != other)
            pairs.append((one if one == other else "tie", right))
            agreed += pairs[-1][0] == right
    same, chance = agreed / decided, 0.0
    for side in "ab":
        chance += sum(it == side for it, _ in pairs) * sum(it == side for _, it in pairs) / decided**2
    by_hand = {
        "agreement": agreed / 100,
        "no_verdict": 1 - decided / 100,
        "flip_rate": flipped / decided,
        "kappa": (same - chance) / (1 - chance),
        "order_bias": abs(sum(first) / len(first) - 0.5),
        "length_bias": (sum(longer) - sum(due)) / len(longer),
        "self_preference": sum(own) / len(own),
    }
    assert {name: found.figures[name].value for name in by_hand} == pytest.approx(by_hand)


def test_chances_are_held_to_what_came_true():
    """As Brier (1950) has it, and in tenths by how sure the judge was."""
    chances = [0.95, 0.93, 0.55, 0.5, 0.2]  # of the right answer, over both orders

    def said(place: int, order: Order) -> Opinion:
        right = chances[place % len(chances)]
        of_a = right if place % 2 == 0 else 1 - right
        ruling: Ruling[Side] = Ruling(value="first", chance=of_a if order == "ab" else 1 - of_a)
        return Opinion(sample=SAMPLES[place].id, order=order, ruling=ruling)

    found = judge_card.of(SAMPLES, [said(place, order) for place in range(100) for order in ORDERS], None)
    assert found.figures["brier"].value == pytest.approx(sum((1 - each) ** 2 for each in chances) / len(chances))
    told = [(each["from"], each["sure"], each["right"], each["pairs"]) for each in found.calibration]
    assert told == [(0.5, pytest.approx(0.525), 0.75, 40), (0.8, 0.8, 0.0, 20), (0.9, pytest.approx(0.94), 1.0, 40)]


def test_a_judge_that_prefers_itself_is_found_out():
    own = {each.id: f"{each.row['right']} " if n % 2 else f"nonsense {n}" for n, each in enumerate(SAMPLES)}
    own = {name: f"{text}" if n % 2 == 0 else f"Well. {text}" for n, (name, text) in enumerate(own.items())}

    def vain(request: Request) -> str:
        first, second = shown(request)
        mine = [text in own.values() for text in (first, second)]
        return knows(request) if not any(mine) else f'{{"winner": "{"A" if mine[0] else "B"}"}}'

    found = card(vain, own)
    assert found.figures["self_preference"].value == 1.0
    assert list(found.failed) == ["self_preference"]


def test_rivals_are_as_right_as_its_own():
    own = {each.id: each.row["wrong"] if n % 2 else f"{each.row['right']}" for n, each in enumerate(SAMPLES)}
    kept, _, other = rivals(SAMPLES, {name: f"{text}" for name, text in own.items()}, "own/judge")
    assert kept == []  # all its answers are those of the pairs
    assert all(other.answers[each.id] == own[each.id] for each in SAMPLES)


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"right": "5", "wrong": "4"}, "does not find the right answer right"),
        ({"right": "4", "wrong": "four is 4"}, "finds the wrong answer right"),
        ({"right": "4"}, "'wrong' must be a string"),
        ({"right": "4", "wrong": "5", "kind": "two words"}, "'kind' must be a word"),
    ],
)
def test_pairs_whose_check_does_not_tell_them_apart_are_refused(tmp_path, row, why):
    path = tmp_path / "gold.jsonl"
    rows = [{"id": str(n), "prompt": "2 + 2?", "check": {"scorer": "number", "target": "4"}, **row} for n in range(2)]
    path.write_text("".join(json.dumps(each) + "\n" for each in rows))
    with pytest.raises(Exception, match=why):
        read(Config(scorer="gold", file=str(path), source="own/ada"))
