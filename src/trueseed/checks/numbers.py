"""The number that an answer comes to, as GSM8K asks for one (Cobbe et al. 2021, arXiv:2110.14168).

>>> last("She makes 9 * $2 = $18.00 a day.")
Decimal('18.00')
>>> marked("so it is 70,000\\n#### 70,000")
Decimal('70000')
"""

import re
from decimal import Decimal, InvalidOperation

_NUMBER = re.compile(r"(?<![\w.])[-−]?\s?[$€£]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|(?<![\w.])[-−]?[$€£]?\.\d+")
_MARKED = re.compile(r"#### *([-−]?[$€£]?[0-9.,]+)")
# As lm-evaluation-harness picks and compares (its tasks/gsm8k/gsm8k.yaml, version 3): strings, not values.
_STRICT = re.compile(r"#### (-?[0-9.,]+)")
_FLEXIBLE = re.compile(r"-?[$0-9.,]{2,}|-?[0-9]+")


def value(text: str) -> Decimal | None:
    """Of a number as people write it, with thousands divided by commas; None when it is none."""
    try:
        found = Decimal(re.sub(r"[$€£,\s]", "", text.replace("−", "-")).rstrip("."))
    except InvalidOperation:
        return None
    return found if found.is_finite() else None


def last(answer: str) -> Decimal | None:
    """The last number that it names."""
    found = _NUMBER.findall(answer)
    return value(found[-1]) if found else None


def marked(answer: str) -> Decimal | None:
    """The number after the first `####`, which is how GSM8K writes its own answers, and how its authors read others'.

    Small models go on after it, often round in circles until they are cut in the middle of a number.
    """
    found = _MARKED.search(answer)
    return value(found[1]) if found else None


def told(answer: str) -> Decimal | None:
    """The marked number, or the last where none is marked."""
    found = marked(answer)
    return last(answer) if found is None else found


def strict_match(answer: str, target: str) -> bool:
    """lm-eval's `exact_match,strict-match`. target: GSM8K's own answer, whole."""
    found = _STRICT.search(answer)
    return _alike(found[1] if found else "[invalid]", target)


def flexible_match(answer: str, target: str) -> bool:
    """lm-eval's `exact_match,flexible-extract`. target: GSM8K's own answer, whole."""
    found = _FLEXIBLE.findall(answer)
    return _alike(found[-1].strip() if found else "[invalid]", target)


def _alike(found: str, target: str) -> bool:
    one, other = (
        re.sub(r"\.$", "", re.sub(r"(?s).*#### ", "", text.replace(",", "").replace("$", ""))).lower()
        for text in (found, target)
    )
    return one == other
