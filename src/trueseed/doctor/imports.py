"""Records of others that a run file names: can they be read, are they whose they are said to be, may they be used?"""

from collections.abc import Iterator

from trueseed.doctor.check import Check, Subject
from trueseed.doctor.known import Known
from trueseed.doctor.permission import verdict_check
from trueseed.errors import ConfigError, Refused, TrueSeedError
from trueseed.exchange.look import Config
from trueseed.exchange.seen import Seen, see
from trueseed.terms.model import Effect


def seen_by(known: Known) -> tuple[Seen, ...]:
    """Each import of the run file, as it will go."""
    return tuple(_seen(config, known) for config in known.file.imports)


def _seen(config: Config, known: Known) -> Seen:
    try:
        return see(config, known.catalog, known.workspace, known.file.facts)
    except TrueSeedError as err:  # what this user holds cannot be read
        return Seen(config=config, ending=err)


def checks(of: str, seen: Seen) -> Iterator[Check]:
    config, subject = seen.config, Subject(of, seen.config.source)
    if seen.looked is None:
        assert seen.ending is not None
        if not isinstance(seen.ending, (ConfigError, Refused)):
            yield subject.error("known texts", seen.ending)
            return
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
