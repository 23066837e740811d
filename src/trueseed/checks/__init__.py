"""Is this answer right? Pure checks of answers, without models.

    kind       what a checkable constraint is
    lengths, casing, wording, edges, shapes    the kinds, by what they look at
    kinds      all of them, and which are held out from training
    sound      what no constraint states: that it is an answer at all
    task       a prompt with its constraints, and the words it is asked in
    text       what a word, a sentence and a line are
    whose      whose words an answer says it is

>>> check(Constraint("bullets", {"n": 2}), "- eat early\\n- sleep well")
True
>>> fault(Constraint("bullets", {"n": 3}), "- eat early\\n- sleep well")
'it has 2 bullet points, and must have exactly 3'
"""

from trueseed.checks.kind import Constraint, Kind
from trueseed.checks.kinds import HELD_OUT_KINDS, KINDS, TRAIN_KINDS, check, doomed, fault, how, kind, phrase, sample
from trueseed.checks.sound import refuses, unsound
from trueseed.checks.task import FREE, Task, compose, draw, together

__all__ = [
    "FREE", "HELD_OUT_KINDS", "KINDS", "TRAIN_KINDS", "Constraint", "Kind", "Task", "check", "compose", "doomed",
    "draw", "fault", "how", "kind", "phrase", "refuses", "sample", "together", "unsound",
]  # fmt: skip
