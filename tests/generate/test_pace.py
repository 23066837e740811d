from hypothesis import given
from hypothesis import strategies as st

from trueseed.generate.pace import Pace


def pace(**rates: float) -> Pace:
    return Pace(
        accept=30,
        shares=dict.fromkeys(rates, 1 / len(rates)),
        ladders={key: ["plain", "spelt"] for key in rates},
        effort=8,
        tries=4,
        poor=0.25,
    )


def ask(of: Pace, name: str, right: bool) -> None:
    tally = of.tallies[name, "plain"]
    tally.asked += 1
    tally.judged += 1
    tally.accepted += right


@given(st.lists(st.floats(0.1, 1), min_size=2, max_size=5), st.randoms(use_true_random=False))
def test_kinds_advance_together_however_hard_they_are(rates, rng):
    kinds = {f"kind{i}": rate for i, rate in enumerate(rates)}
    of = pace(**kinds)
    while (name := of.next_kind()) is not None:
        ask(of, name, rng.random() < kinds[name])
        accepted = [of.of_kind(kind).accepted for kind in kinds if of.of_kind(kind).asked < of.most(kind)]
        assert not accepted or max(accepted) - min(accepted) <= 1


def test_what_is_under_way_counts_by_its_rate():
    of = pace(easy=1.0)
    for _ in range(60):
        of.tallies["easy", "plain"].asked += 1
    assert of.next_kind() is None  # 60 answers at an imagined rate of one half are 30 records


def test_a_kind_is_not_asked_beyond_its_bound():
    of = pace(hard=0.0, easy=1.0)
    for _ in range(of.most("hard")):
        ask(of, "hard", False)
    assert of.next_kind() == "easy"
    for _ in range(of.most("easy")):
        ask(of, "easy", False)
    assert of.next_kind() is None


def test_a_rung_is_poor_only_after_enough_tries():
    of = pace(hard=0.0)
    for tried in range(4):
        assert not of.is_poor("hard", "plain"), tried
        ask(of, "hard", False)
    assert of.is_poor("hard", "plain")
    assert of.first_rung("hard", ["plain", "spelt"]) == "spelt"


def test_when_every_rung_is_poor_the_best_is_taken():
    of = pace(hard=0.0)
    for rung, right in (("plain", 1), ("spelt", 0)):
        tally = of.tallies["hard", rung]  # type: ignore[index]
        tally.asked = tally.judged = 9
        tally.accepted = right
    assert of.first_rung("hard", ["plain", "spelt"]) == "plain"


def test_a_larger_share_is_asked_more():
    of = Pace(
        accept=40,
        shares={"a": 0.75, "b": 0.25},
        ladders={"a": ["plain"], "b": ["plain"]},
        effort=8,
        tries=4,
        poor=0.25,
    )
    while (name := of.next_kind()) is not None:
        ask(of, name, True)
    assert (of.of_kind("a").accepted, of.of_kind("b").accepted) == (30, 10)
