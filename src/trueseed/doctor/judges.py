"""Judges that a run file names: is one of a kind with what it compares, and was it tried before it is believed?

Whether it may judge, can be reached and has a price is looked at as of a teacher.
"""

from collections.abc import Iterator

from trueseed.doctor.check import Check, Subject
from trueseed.doctor.known import Known
from trueseed.judging import newest_card
from trueseed.lm.source import source_of
from trueseed.runfile import Judging, RunFile


def checks(of: str, judge: Judging, known: Known) -> Iterator[Check]:
    subject = Subject(of, judge.named)
    yield _kin(subject, judge, known.file)
    yield _card(subject, judge, known)


def _kin(subject: Subject, judge: Judging, file: RunFile) -> Check:
    """Of the same maker as a side, or as what a side learned from: judges prefer their own kind."""
    from trueseed.evaluate.pairwise import Contestant, kinship

    base = source_of(file.base.weights, file.base.source)
    taught = (*file.teachers, *file.rewriters, *filter(None, [file.distiller]))
    learned_from = tuple(dict.fromkeys((*(each.named for each in taught), base)))
    student = f"own/{file.student.name}"
    sides = [Contestant(name=student, source=student, answers={}, learned_from=learned_from)]
    compared = {whom for task in file.tasks if task.is_compared for whom in task.of or ()}
    others = [("teacher", file.teacher.named if file.teacher else ""), ("base", base)]
    sides += [Contestant(name=who, source=it, answers={}) for who, it in others if who in compared and it]
    aims = [each for each in file.targets if each.judge == judge.called]
    for aim in aims:
        source = aim.teacher.named if aim.teacher else str(aim.source)
        sides.append(Contestant(name=aim.name, source=source, answers={}))
    found = [why for side in sides if (why := kinship(subject.source, side))]
    if found:
        return subject.warning("impartial", "; ".join(found), "add a judge of another maker; a majority decides")
    return subject.ok("impartial", "it is of another maker than those it compares, and than what they learned from")


def _card(subject: Subject, judge: Judging, known: Known) -> Check:
    card = newest_card(subject.source, judge.method, known.workspace) if known.workspace else None
    if card is None:
        return subject.warning(
            "card", "it was not tried in this workspace; the run does so first, on pairs with known answers",
            "`trueseed judge check --run FILE` does it now",
        )  # fmt: skip
    if card.passed:
        return subject.ok("card", f"passed on {card.on} (tried again when anything of it changed)")
    return subject.warning(
        "card", f"failed on {card.on}: {', '.join(card.failed)}; it has no voice beside a judge that passed",
        "take another judge: what none that passed said is given as not to be believed",
    )  # fmt: skip
