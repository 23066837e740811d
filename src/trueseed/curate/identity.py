"""Answers that give away a model's or a maker's name.

They go only when the run declares it (`identity_filter: true`), and the declaration is written on the dataset, from
where it shows on everything that is made of it. Taking such answers out in silence would be laundering: who reads a
student's words should be able to learn that its teacher's name was removed from them.
"""

from collections.abc import Sequence

from trueseed.checks.whose import names_its_maker
from trueseed.core.records import Record
from trueseed.curate.drop import Drop

__all__ = ["identity", "names_its_maker"]


def identity(records: Sequence[Record]) -> list[Drop | None]:
    found = [names_its_maker(record.answer) for record in records]
    return [Drop("identity", name) if name else None for name in found]
