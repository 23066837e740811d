"""A judge that goes by the order of two answers is found out by its verdicts alone."""

import pytest

from trueseed.evaluate.order import swayed
from trueseed.evaluate.verdicts import Verdict


def said(*rows: tuple[str, str, str]) -> list[Verdict]:
    """sample, order, winner."""
    return [
        Verdict(sample=sample, a="x", b="y", winner=winner, order=order, judge="own/j")
        for sample, order, winner in rows
    ]


def of_places(winners: str) -> list[Verdict]:
    """A pair each, in both orders: `f` whoever is shown first, `l` whoever is shown last, `x` always x, `t` a tie."""
    by = {"f": ("a", "b"), "l": ("b", "a"), "x": ("a", "a"), "t": ("tie", "a")}
    rows = (
        (str(n), order, won)
        for n, each in enumerate(winners)
        for order, won in zip(("ab", "ba"), by[each], strict=True)
    )
    return said(*rows)


@pytest.mark.parametrize(
    ("winners", "turned"),
    [("ffff", 4), ("llll", 4), ("ffxf", 3), ("flxx", None), ("xxxx", None), ("tttt", None), ("fft", 2)],
)
def test_who_turns_on_more_than_half_goes_by_the_order(winners, turned):
    found = swayed(of_places(winners)).get("own/j")
    assert (found and found.turned) == turned
    assert found is None or found.decided == len(winners)


def test_one_order_alone_tells_nothing():
    assert swayed(said(*((str(n), "ab", "a") for n in range(8)))) == {}
    assert swayed(said(*((str(n), "", "a") for n in range(8)))) == {}


def test_it_is_the_same_whoever_is_called_a():
    one = Verdict(sample="1", a="x", b="y", winner="a", order="ab", judge="own/j")
    other = Verdict(sample="1", a="y", b="x", winner="a", order="ab", judge="own/j")
    assert swayed([one, other])["own/j"].turned == 1


def test_chances_that_are_not_even_over_both_orders_say_something():
    def chances(first: float, second: float) -> list[Verdict]:
        return [
            Verdict(sample="1", a="x", b="y", winner="a", order="ab", judge="own/j", share=first),
            Verdict(sample="1", a="x", b="y", winner="b", order="ba", judge="own/j", share=1 - second),
        ]

    assert swayed(chances(0.7, 0.7))["own/j"].turned == 1
    assert swayed(chances(0.9, 0.6)) == {}
