"""`report.html`: one file that opens anywhere, without a network, a script or a font. Everything in it is escaped."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from trueseed.report import expected, plots, results
from trueseed.report.details import Details, Ruling, Sample
from trueseed.report.origins import FLAGS, LOOKED_FOR
from trueseed.report.results import Results
from trueseed.report.summary import Interval, Report
from trueseed.report.template import template
from trueseed.report.wording import percent, points

SETS = {
    "held_out_prompts": "New prompts, trained kinds of instruction",
    "held_out_kinds": "New prompts, new kinds of instruction",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of a table of counts: what, how many, and a bar for it."""

    name: str
    n: int
    bar: Markup
    of: str = ""


def render(report: Report, details: Details, found: Results = results.NOTHING) -> str:
    """The page. found: who stands where, on tasks and to targets."""
    scale = _scale(*filter(None, (report.scores.teacher.chat_perplexity, report.scores.student.chat_perplexity)))
    return template("page.html").render(
        report=report,
        details=details,
        headline=headline(report),
        learned_from=_learned_from(report),
        names={"teacher": report.before.capitalize(), "student": "Student"},
        against=LOOKED_FOR,
        flags=[FLAGS[flag] for flag in report.flags],
        sets=SETS,
        funnel=_funnel(report),
        rejected=_by_reason(report.records.rejected, "lost"),
        dropped=_by_reason(report.records.dropped, "lost"),
        times=_times(report),
        expected=expected.section(report.plan),
        rulings=_merged(details.rulings),
        upstream=_upstream(details),
        readings=details.readings,
        samples=_by_set(details.samples),
        ppl_scale=scale,
        ppl_ticks=[f"{scale[0] + (scale[1] - scale[0]) * i / 4:.2f}" for i in range(5)],
        training={"route": "", **report.training},
        **results.sections(found),
    )


# In words


def headline(report: Report) -> str:
    """The result in one sentence, saying no more than the interval allows."""
    scores = report.scores
    teacher, student = scores.teacher.held_out_prompts, scores.student.held_out_prompts
    gain = scores.difference.held_out_prompts
    told = f"The student passes every check on {percent(student.value)} of new prompts"
    told += f", its {report.before} on {percent(teacher.value)}"
    if gain.low > 0:
        return f"{told}: {points(gain.value)} better."
    if gain.high < 0:
        return f"{told}: {points(gain.value)} worse."
    return f"{told}. The difference is within the noise of measuring."


# In tables


def _funnel(report: Report) -> list[Row]:
    records = report.records
    asked = (("asked", records.asked), ("accepted", records.accepted)) if report.before == "teacher" else ()
    imported = (("imported", records.imported),) if report.imports else ()
    rows = (*asked, *imported, ("kept", records.kept))
    whole = records.asked + records.imported
    return [
        Row(name=name, n=n, bar=plots.bar(n, whole, "kept"), of=percent(n / whole) if whole else "") for name, n in rows
    ]


def _learned_from(report: Report) -> list[str]:
    """Whose words, each once."""
    taught = [taught.source for taught in report.teachers if taught.accepted]
    brought = [source for each in report.imports for source in (each.source, *each.inherited)]
    return list(dict.fromkeys([*taught, *brought, *(each.source for each in report.said_anew)])) or [report.teacher]


def _by_reason(counts: Mapping[str, int], kind: str) -> list[Row]:
    """Most frequent first; a reason that met nothing is left out."""
    found = sorted(((n, reason) for reason, n in counts.items() if n), key=lambda row: (-row[0], row[1]))
    return [Row(name=reason, n=n, bar=plots.bar(n, found[0][0], kind)) for n, reason in found]


def _times(report: Report) -> list[tuple[str, float, Markup]]:
    timings = report.timings_s
    rows = [(name, getattr(timings, name)) for name in ("generate", "curate", "train", "evaluate")]
    return [(name, seconds, plots.bar(round(seconds, 1), round(timings.total, 1), "kept")) for name, seconds in rows]


def _merged(rulings: Sequence[Ruling]) -> list[tuple[Ruling, tuple[str, ...]]]:
    """The same ruling for several steps is one row that names them."""
    steps: dict[tuple[str, ...], tuple[Ruling, list[str]]] = {}
    for ruling in rulings:
        text = (ruling.document, ruling.version, ruling.clause, *ruling.own)
        key = (ruling.source, ruling.use, str(ruling.permitted), *text)
        named = steps.setdefault(key, (ruling, []))[1]
        named.extend(step for step in ruling.steps if step not in named)
    return [(ruling, tuple(named)) for ruling, named in steps.values()]


def _by_set(samples: Sequence[Sample]) -> dict[str, list[Sample]]:
    grouped: dict[str, list[Sample]] = {}
    for sample in samples:
        grouped.setdefault(SETS.get(sample.set, sample.set), []).append(sample)
    return grouped


def _upstream(details: Details) -> dict[str, list[str]]:
    """Declared teachers by source."""
    declared: dict[str, list[str]] = {}
    for link in details.upstream:
        declared.setdefault(link.source, []).append(link.teacher)
    return declared


def _scale(*intervals: Interval) -> tuple[float, float]:
    """A scale with a margin around all of them."""
    if not intervals:
        return 0.0, 1.0
    low, high = min(interval.low for interval in intervals), max(interval.high for interval in intervals)
    margin = (high - low) / 4 or 1.0
    return low - margin, high + margin
