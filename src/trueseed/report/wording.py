"""Numbers and names as the report page writes them."""

import re

from markupsafe import Markup

from trueseed.core.plural import form


def percent(share: float) -> str:
    """0.3281 → 32.8 %, with a space that does not break."""
    return f"{100 * share:.1f}\u00a0%"


def points(difference: float) -> str:
    """Percentage points, without sign: the words around it say which way."""
    return f"{100 * abs(difference):.1f} points"


def signed(number: float) -> str:
    """One decimal and a sign; minus is a minus."""
    return f"{number:+.1f}".replace("-", "\N{MINUS SIGN}")


def count(number: int) -> str:
    """12345 → 12 345."""
    return f"{number:,}".replace(",", "\u202f")


def many(number: int, what: str, several: str = "") -> str:
    """How many of what: 1 prompt, 12 345 prompts."""
    return f"{count(number)} {form(number, what, several)}"


def duration(seconds: float) -> str:
    """Hours and minutes, minutes and seconds, or seconds.

    >>> duration(3.14), duration(252), duration(4000)
    ('3.1 s', '4 min 12 s', '1 h 07 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return "{} min {:02} s".format(*divmod(round(seconds), 60))
    return "{} h {:02} min".format(*divmod(round(seconds / 60), 60))


def p_value(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def breakable(name: str) -> Markup:
    """A long name that may break after its own marks."""
    return Markup("<wbr>").join(re.split(r"(?<=[/@:_-])", name))


def figure(number: float) -> str:
    """Three decimals; minus is a minus."""
    return f"{number:.3f}".replace("-", "\N{MINUS SIGN}")


def change(number: float) -> str:
    """Three decimals and a sign."""
    return f"{number:+.3f}".replace("-", "\N{MINUS SIGN}")


def days(number: int) -> str:
    """How many, whichever way."""
    return many(abs(number), "day")
