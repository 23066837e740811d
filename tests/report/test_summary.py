import json

import pytest

from trueseed.core.canonical import canonical
from trueseed.report.details import Ruling
from trueseed.report.summary import (
    Comparison,
    Counts,
    Interval,
    LedgerHead,
    Report,
    Scores,
    Taught,
    Timings,
)
from trueseed.terms.model import Obligation, Use
from trueseed.terms.rules import Verdict

NOTICE = Obligation(kind="notice-file", text="Keep the notices.", document="apache-2.0", clause="4(c)")
SCORES = Scores.from_json(
    {name: {"value": 0.5, "low": 0.4, "high": 0.6, "n": 300} for name in Scores.__dataclass_fields__}
)


def test_report_json_has_the_shape_that_others_rely_on():
    report = Report(
        teacher="acme/large@api",
        student="weights:3f",
        scores=Comparison(teacher=SCORES, student=SCORES, difference=SCORES),
        records=Counts(asked=10, accepted=7, rejected={"bullets": 3}, kept=6, dropped={"refusal": 1}),
        timings_s=Timings(generate=1.0, curate=2.0, train=3.0, evaluate=4.0, total=10.5),
        ledger=LedgerHead(entries=5, root="9c", checkpoint="trueseed/3f\n5\nnA==\n\n— trueseed/3f Zg==\n"),
        sources=("acme/large@api",),
        obligations=(NOTICE,),
        teachers=(Taught(source="acme/large@api", asked=10, accepted=7, left="the quota is used up"),),
    )
    interval = {"value": 0.5, "low": 0.4, "high": 0.6, "n": 300}
    scores = {"held_out_prompts": interval, "held_out_kinds": interval, "chat_perplexity": interval}
    expected = {
        "teacher": "acme/large@api",
        "student": "weights:3f",
        "scores": {"teacher": scores, "student": scores, "difference": scores},
        "records": {
            "asked": 10,
            "accepted": 7,
            "rejected": {"bullets": 3},
            "kept": 6,
            "dropped": {"refusal": 1},
            "cached": 0,
            "imported": 0,
        },
        "timings_s": {"generate": 1.0, "curate": 2.0, "train": 3.0, "evaluate": 4.0, "total": 10.5},
        "ledger": {"entries": 5, "root": "9c", "checkpoint": "trueseed/3f\n5\nnA==\n\n— trueseed/3f Zg==\n"},
        "sources": ["acme/large@api"],
        "obligations": [NOTICE.to_json()],
        "teachers": [{"source": "acme/large@api", "asked": 10, "accepted": 7, "left": "the quota is used up"}],
        "plan": None,
        "readings": [],
        "may_be_published": [],
        "imports": [],
        "said_anew": [],
        "flags": [],
        "tasks": [],
        "training": {},
        "compared": [],
        "leaderboards": [],
        "targets": [],
        "contamination": {},
        "looks": {},
    }
    assert report.to_json() == expected
    assert json.loads(canonical(report.to_json())) == expected


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_score_is_a_number(value):
    with pytest.raises(ValueError, match="finite"):
        Interval(value=value, low=0.0, high=1.0, n=3)


def test_scores_know_exactly_three_measures():
    with pytest.raises(TypeError):
        Scores.from_json({"held_out_prompts": {"value": 0.5, "low": 0.4, "high": 0.6, "n": 300}})


def test_a_ruling_reads_a_verdict_as_the_ledger_holds_it():
    verdict = Verdict(
        permitted=False,
        use=Use.TRAIN,
        source="openai/gpt-4@api",
        document="openai-tou-2023-03-14",
        version="2023-03-14",
        clause="2(c)(iii)",
        because="models that compete may not be developed",
        obligations=(NOTICE,),
    )
    ruling = Ruling.from_json(verdict.to_json(), steps=("generate",))
    assert (ruling.source, ruling.use, ruling.permitted, ruling.clause) == (
        "openai/gpt-4@api",
        "train",
        False,
        "2(c)(iii)",
    )
    assert (ruling.obligations, ruling.steps) == ((NOTICE,), ("generate",))
