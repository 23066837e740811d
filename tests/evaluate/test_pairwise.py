"""Both orders, ties, flips, several judges, and the win rate that comes of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trueseed.core.chat import Request
from trueseed.evaluate.judgement import Judgement, Trial
from trueseed.evaluate.pairwise import Contestant, Opinion, decided, judged, kinship, majority, standings, summarise
from trueseed.evaluate.sample import Sample
from trueseed.teachers.judge import Judge, Ruling
from trueseed.teachers.likelihood import Found, chosen
from trueseed.teachers.rubric import Rubric
from trueseed.teachers.scripted import ScriptedTeacher

SAMPLES = [Sample(id=str(n), prompt=f"Question {n}?", row={}) for n in range(12)]
A = Contestant(name="x", source="own/x", answers={each.id: f"good answer {each.id}" for each in SAMPLES})
B = Contestant(name="y", source="own/y", answers={each.id: f"bad {each.id}" for each in SAMPLES})
PASSED = {"artifact": "scores:0", "passed": True, "failed": {}}
FAILED = {"artifact": "scores:1", "passed": False, "failed": {"flip_rate": "1.00"}}


def shown(request: Request) -> tuple[str, str]:
    """Both answers, as the judge sees them."""
    text = request.messages[0].content
    return tuple(text.split(f"<answer {side} ")[1].split("\n")[1] for side in "AB")


def for_good(request: Request) -> str:
    return f'{{"winner": "{"A" if "good" in shown(request)[0] else "B"}"}}'


def says(reply: str):
    return lambda _: reply


def opinions(script, samples=SAMPLES, a=A, b=B) -> list[Opinion]:
    return list(judged(samples, a, b, Judge(ScriptedTeacher("own/judge", script, slots=4))))


def test_each_pair_is_asked_in_both_orders():
    teacher = ScriptedTeacher("own/judge", for_good)
    found = list(judged(SAMPLES[:2], A, B, Judge(teacher)))
    assert sorted(map(shown, teacher.requests)) == sorted(
        [("good answer 0", "bad 0"), ("bad 0", "good answer 0"), ("good answer 1", "bad 1"), ("bad 1", "good answer 1")]
    )
    assert {(each.sample, each.order, each.winner) for each in found} == {
        (sample, order, "a") for sample in "01" for order in ("ab", "ba")
    }


def test_a_judge_that_always_says_a_decides_nothing():
    tally = summarise(SAMPLES, {"j": opinions(says('{"winner": "A"}'))}, A, B)
    assert (tally.wins, tally.losses, tally.ties, tally.flips) == (0, 0, 12, 12)
    assert (tally.by_order, tally.order_decides, tally.metrics) == (12, True, {})


def test_a_judge_that_turns_with_the_order_on_some_decides_the_rest():
    def script(request: Request) -> str:
        return '{"winner": "A"}' if any(n in shown(request)[0] for n in ("10", "11")) else for_good(request)

    tally = summarise(SAMPLES, {"j": opinions(script)}, A, B)
    assert (tally.wins, tally.ties, tally.by_order, tally.order_decides) == (10, 2, 2, False)
    assert tally.win_rate.value == pytest.approx(11 / 12)


def test_ties_in_both_orders_are_not_the_order():
    tally = summarise(SAMPLES, {"j": opinions(says('{"winner": "tie"}'))}, A, B)
    assert (tally.ties, tally.by_order, tally.win_rate.value) == (12, 0, 0.5)
    assert tally.win_rate.low < 0.45 and tally.win_rate.high > 0.55


def test_one_judge_that_turns_does_not_silence_two_that_do_not():
    always = opinions(says('{"winner": "A"}'))
    tally = summarise(SAMPLES, {"j": always, "k": opinions(for_good), "l": opinions(for_good)}, A, B)
    assert (tally.wins, tally.by_order, tally.win_rate.value) == (12, 0, 1.0)


def test_a_consistent_judge_wins_it_for_one_side():
    tally = summarise(SAMPLES, {"j": opinions(for_good)}, A, B)
    assert (tally.wins, tally.flips, tally.win_rate.value) == (12, 0, 1.0)
    assert tally.win_rate.low < 1  # twelve of twelve are not certainty
    assert tally.at_equal_length is None  # all went one way


@pytest.mark.parametrize("reply", ["A is better.", "I'm sorry, but I can't help with that.", '{"winner": 7}'])
def test_what_is_no_verdict_never_becomes_a_number(reply):
    found = opinions(says(reply))
    tally = summarise(SAMPLES, {"j": found}, A, B)
    assert (tally.no_verdict, tally.wins, tally.ties, tally.metrics) == (12, 0, 0, {})
    assert decided(found, A, B, "own/judge") == []
    trial = Trial(
        samples=SAMPLES, a=A, b=B, judges=[Judgement(source="own/judge", rubric={}, card=None, opinions=found)]
    )
    assert "there is no win rate: 12 of 12 samples have no verdict" in trial.to_json()["warnings"]


def test_one_order_without_a_verdict_leaves_the_sample_out():
    def script(request: Request) -> str:
        return "prose" if shown(request)[0] == "good answer 3" else for_good(request)

    def twice(request: Request) -> str:
        return "prose" if len(request.messages) > 1 else script(request)

    tally = summarise(SAMPLES, {"j": opinions(twice)}, A, B)
    assert (tally.wins, tally.no_verdict, tally.win_rate.n) == (11, 1, 11)


def test_equal_answers_tie_and_nobody_is_asked():
    teacher = ScriptedTeacher("own/judge", for_good)
    found = list(judged(SAMPLES, A, Contestant(name="z", source="own/z", answers=A.answers), Judge(teacher)))
    assert teacher.requests == []
    assert {each.winner for each in found} == {"tie"}


def test_verdicts_name_the_models_and_not_the_places():
    first, second = decided(opinions(for_good, SAMPLES[:1]), A, B, "own/judge")
    assert (first.order, first.winner, first.first_won) == ("ab", "a", True)
    assert (second.order, second.winner, second.first_won) == ("ba", "a", False)
    assert (first.length_a, first.length_b) == (len("good answer 0"), len("bad 0"))


votes = st.lists(st.sampled_from(["a", "b", "tie", None]), max_size=6)


@given(votes)
def test_a_majority_is_more_than_half_whoever_is_called_a(found):
    swapped = [{"a": "b", "b": "a"}.get(each, each) for each in found]
    one, other = majority(found), majority(swapped)
    assert other == {"a": "b", "b": "a"}.get(one, one)
    counted = [each for each in found if each]
    if one in ("a", "b"):
        assert 2 * counted.count(one) > len(counted)
    assert (one is None) == (not counted)


def test_judges_who_differ_are_counted():
    against = opinions(lambda request: for_good(request).translate(str.maketrans("AB", "BA")))
    tally = summarise(SAMPLES, {"j": opinions(for_good), "k": against}, A, B)
    assert (tally.ties, tally.split) == (12, 12)
    assert tally.agreement[("j", "k")].value <= 0


def test_several_samples_of_one_prompt_are_drawn_together():
    same = [Sample(id=each.id, prompt=f"Question {int(each.id) % 2}?", row={}) for each in SAMPLES]
    tally = summarise(same, {"j": opinions(for_good, same)}, A, B)
    assert tally.win_rate.n == 2


def test_an_opinion_is_read_as_it_was_written():
    for each in (*opinions(for_good), *opinions(says("prose"))):
        assert Opinion.from_json(each.to_json()) == each


def test_a_standing_needs_both_orders():
    ruling = Ruling(value="first")
    assert standings(SAMPLES[:1], [Opinion(sample="0", order="ab", ruling=ruling)])["0"].winner is None


def trial(*judges: tuple[str, dict | None]) -> Trial:
    made = [Judgement(source=source, rubric={}, card=card, opinions=opinions(for_good)) for source, card in judges]
    return Trial(samples=SAMPLES, a=A, b=B, judges=made)


def test_a_judge_that_failed_its_card_has_no_voice_beside_one_that_passed():
    found = trial(("own/j", FAILED), ("own/k", PASSED)).to_json()
    assert [judge["decides"] for judge in found["judges"]] == [False, True]
    assert found["believed"]
    assert found["warnings"] == ["the judge own/j failed its card, and has no voice here: flip_rate 1.00"]


@pytest.mark.parametrize("card", [FAILED, None])
def test_scores_of_a_judge_that_is_not_known_to_be_good_say_so(card):
    found = trial(("own/j", card)).to_json()
    assert not found["believed"]
    assert found["warnings"][-1] == "no judge here is known to be any good: this win rate is not to be believed"


def test_where_there_is_no_win_rate_none_is_spoken_of():
    prose = Judgement(source="own/j", rubric={}, card=FAILED, opinions=opinions(lambda _: "Both are fine."))
    found = Trial(samples=SAMPLES, a=A, b=B, judges=[prose]).to_json()
    assert not found["believed"] and not any("this win rate" in said for said in found["warnings"])
    assert found["warnings"][-1].startswith("there is no win rate: ")


@pytest.mark.parametrize(
    ("judge", "source", "learned_from", "why"),
    [
        ("openai/gpt-4@api", "openai/gpt-4@azure", (), "its own answers"),
        ("openai/gpt-4@api", "openai/gpt-3.5-turbo@api", (), "the same maker"),
        ("openai/gpt-4@api", "own/sprout", ("openai/gpt-3.5-turbo@api",), "learned from"),
        ("openai/gpt-4@api", "deepseek/deepseek-chat@api", (), ""),
        ("own/judge", "own/sprout", ("own/ada",), ""),
    ],
)
def test_a_judge_of_the_same_kin_is_told_of(judge, source, learned_from, why):
    found = kinship(judge, Contestant(name="it", source=source, answers={}, learned_from=learned_from))
    assert (why in found) if why else not found


# ------------------------------------------------------------------------------------------------------ chances


def of_chances(*pairs: tuple[float, float], margin: float = 0.0) -> list[Opinion]:
    """Chances of the first shown in both orders, sample by sample."""
    return [
        Opinion(
            sample=SAMPLES[n].id,
            order=order,
            ruling=chosen(chance, Rubric(margin=margin), "p", Found()),
        )
        for n, pair in enumerate(pairs)
        for order, chance in zip(("ab", "ba"), pair, strict=True)
    ]


def test_chances_are_averaged_over_both_orders():
    found = standings(SAMPLES[:3], of_chances((0.9, 0.7), (0.6, 0.7), (0.8, 0.1), margin=0.06))
    assert [found[str(n)].chance for n in range(3)] == pytest.approx([0.6, 0.45, 0.85])
    assert [found[str(n)].winner for n in range(3)] == ["a", "tie", "a"]
    assert [found[str(n)].flipped for n in range(3)] == [True, True, False]


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=12), st.floats(0, 0.4))
def test_what_a_place_adds_to_every_chance_cancels(pairs, bias):
    """The same judge with a liking for the first shown, as far as no chance leaves the unit interval."""
    within = [(max(0.0, x - bias), max(0.0, y - bias)) for x, y in pairs]
    one = standings(SAMPLES[: len(pairs)], of_chances(*within))
    other = standings(SAMPLES[: len(pairs)], of_chances(*((x + bias, y + bias) for x, y in within)))
    assert [one[each].chance for each in one] == pytest.approx([other[each].chance for each in other])


def test_the_weighted_win_rate_is_the_mean_of_the_chances_and_only_of_judges_that_give_them():
    chances = of_chances((0.9, 0.3), (0.6, 0.6), (0.2, 0.8), (1.0, 0.0))
    tally = summarise(SAMPLES[:4], {"j": chances}, A, B)
    assert tally.weighted.value == pytest.approx((0.8 + 0.5 + 0.2 + 1.0) / 4)
    assert tally.win_rate.value == pytest.approx((1 + 0.5 + 0 + 1) / 4)
    assert tally.metrics.keys() == {"win_rate", "weighted_win_rate", "win_rate_at_equal_length"}
    together = summarise(SAMPLES[:4], {"j": chances, "k": opinions(for_good, SAMPLES[:4])}, A, B)
    assert together.weighted is None


def test_who_cannot_be_asked_is_counted_by_why():
    said = [*opinions(for_good)[4:], *(_without(sample, "too_long") for sample in SAMPLES[:2])]
    found = Trial(
        samples=SAMPLES,
        a=A,
        b=B,
        judges=[Judgement(source="own/j", rubric={}, card=PASSED, opinions=said)],
    )
    assert "own/j: 2 samples are too long for its context" in found.warnings


def _without(sample: Sample, fault: str) -> Opinion:
    return Opinion(sample=sample.id, order="ab", ruling=Ruling(fault=fault, told="it is"))
