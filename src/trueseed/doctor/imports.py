"""Records of others that a run file names: can they be read, are they whose they are said to be, may they be used?"""

from collections.abc import Iterator

from trueseed.doctor.check import Check, Subject
from trueseed.doctor.known import Known
from trueseed.doctor.permission import verdict_check
from trueseed.errors import TrueSeedError
from trueseed.exchange.look import Config
from trueseed.exchange.seen import Seen, see
from trueseed.terms.model import Effect


def checks(of: str, config: Config, known: Known) -> Iterator[Check]:
    subject = Subject(of, config.source)
    try:
        catalog = known.workspace.catalog if known.workspace else known.catalog
        seen = see(config, catalog, known.workspace, known.file.facts)
    except TrueSeedError as err:  # what this user holds cannot be read
        yield subject.error("known texts", err)
        return
    if seen.looked is None:
        assert seen.ending is not None
        yield subject.fails(
            "rows", str(seen.ending), "correct the file, or what `import` says of it", type(seen.ending)
        )
        return
    yield subject.ok("rows", f"{seen.rows} in {config.file}")
    yield _origin(subject, seen)
    for effect in (Effect.TRAIN, Effect.SERVE):
        for verdict in seen.verdicts[effect]:
            yield verdict_check(Subject(of, verdict.source), f"terms to {effect.value}", verdict)


def _origin(subject: Subject, seen: Seen) -> Check:
    assert seen.looked is not None
    counted = seen.looked.counted
    told = ", ".join(f"{kind} {n}" for kind, n in counted.items())
    if seen.ending:
        return subject.fails(
            "origin", str(seen.ending), "take those rows out, declare their origin, or `inherit: true`",
            type(seen.ending),
        )  # fmt: skip
    if seen.inherited:
        sources = ", ".join(sorted({label.source for label in seen.inherited}))
        return subject.warning("origin", f"contradicted ({told}), and inherited: it carries {sources} too")
    return subject.ok("origin", f"looked for what contradicts it, and found nothing ({told})")
