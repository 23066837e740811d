"""Numbers and the words that go with them: 1 comparison, 2 comparisons."""


def many(count: int, what: str, several: str = "") -> str:
    """How many of what.

    >>> many(1, "comparison"), many(1200, "verdict"), many(0, "entry", "entries")
    ('1 comparison', '1,200 verdicts', '0 entries')
    """
    return f"{count:,} {form(count, what, several)}"


def form(count: int, one: str, several: str = "") -> str:
    """A word as it goes with so many. several: where it is not `one` and an s.

    >>> form(1, "sample"), form(2, "sample"), form(1, "has", "have")
    ('sample', 'samples', 'has')
    """
    return one if abs(count) == 1 else several or f"{one}s"
