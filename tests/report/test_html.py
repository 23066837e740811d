import dataclasses
import os
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trueseed.report import plots
from trueseed.report.details import (
    Details,
    Edge,
    KindScore,
    Node,
    Point,
    Ruling,
    Said,
    Sample,
    Validation,
)
from trueseed.report.html import headline, render
from trueseed.report.planned import Beside, Outcome, Quantity, Range
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
from trueseed.report.wording import breakable, duration
from trueseed.terms.model import Obligation, Upstream

SOURCE = "huggingfacetb/smollm2-135m-instruct@weights"
NOTICE = Obligation(kind="notice-file", text="Keep the notices.", document="apache-2.0", clause="4(c)")


def beside(quantity: Quantity, low: float, high: float, actual: float) -> Beside:
    expected = Range(likely=(low + high) / 2, low=low, high=high)
    return Beside(step="generate", quantity=quantity, expected=expected, actual=actual, inside=expected.holds(actual))


PLAN = Outcome(
    made_at="2026-11-21T08:00:00Z",
    artifact="report:" + "5a" * 32,
    rows=8,
    beside=(beside("requests", 9_000, 14_000, 12_480), beside("micros", 120_000, 900_000, 1_300_000)),
    other_settings=("train",),
)


def interval(value: float, reach: float = 0.05, n: int = 320) -> Interval:
    return Interval(value=value, low=value - reach, high=value + reach, n=n)


def scores(prompts: float, kinds: float, perplexity: float) -> Scores:
    return Scores(
        held_out_prompts=interval(prompts), held_out_kinds=interval(kinds), chat_perplexity=interval(perplexity)
    )


def report(**changes: Any) -> Report:
    whole = Report(
        teacher=SOURCE,
        student="weights:" + "3f" * 32,
        scores=Comparison(
            teacher=scores(0.384, 0.3, 4.8), student=scores(0.712, 0.32, 5.0), difference=scores(0.328, 0.02, 0.2)
        ),
        records=Counts(asked=12_480, accepted=2000, rejected={"bullets": 10_480}, kept=1900, dropped={"refusal": 100}),
        timings_s=Timings(generate=212.4, curate=6.2, train=148.9, evaluate=97.3, total=468.2),
        ledger=LedgerHead(entries=14, root="9c" * 32, checkpoint="trueseed/3f2a\n14\nnJyc=\n\n— trueseed/3f2a ZqXo=\n"),
        sources=(SOURCE, "own/everyday"),
        obligations=(NOTICE,),
        plan=PLAN,
    )
    return dataclasses.replace(whole, **changes)


def details(**changes: Any) -> Details:
    ruling = Ruling(
        source=SOURCE,
        use="train",
        permitted=True,
        document="apache-2.0",
        version="2.0",
        clause="2",
        because="it allows derivative works",
        obligations=(NOTICE,),
        steps=("generate",),
    )
    whole = Details(
        name="seedling",
        made_at="2026-11-21T09:30:00Z",
        kinds={"held_out_prompts": {"json_keys": KindScore(teacher=0.2, student=0.9, n=40)}},
        p_values={"held_out_prompts": 1e-6},
        curve=tuple(Point(step=step, loss=2 / step, lr=1e-4) for step in range(1, 9)),
        validation=Validation(before=2.5, after=0.5),
        nodes=(
            Node(id="s", label=SOURCE, kind="source"),
            Node(id="w", label="weights\n3f3f", kind="weights"),
            Node(id="d", label="dataset\n1a1a", kind="dataset"),
            Node(id="h", label="prompts: held out\n2b2b", kind="prompts"),
        ),
        edges=(Edge(start="s", end="d"), Edge(start="s", end="w"), Edge(start="d", end="w"), Edge(start="h", end="d")),
        rulings=(ruling, dataclasses.replace(ruling, steps=("train",))),
        upstream=(Upstream(source=SOURCE, teacher="Llama-3.1-405B-Instruct"),),
        samples=(
            Sample(
                set="held_out_prompts",
                prompt="Three tips, please",
                constraints=("exactly 3 bullets",),
                teacher=Said(text="No.", faults=("bullets: 0 of 3",)),
                student=Said(text="- a\n- b\n- c"),
            ),
        ),
    )
    return dataclasses.replace(whole, **changes)


class Text(HTMLParser):
    """What a person reads, and every tag with its attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._words: list[str] = []
        self._hidden = 0
        self.feed(page)
        self.text = " ".join(" ".join(self._words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._hidden += tag == "style"

    def handle_endtag(self, tag: str) -> None:
        self._hidden -= tag == "style"

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self._words.append(data)


def test_the_page_sets_what_came_beside_what_was_expected():
    text = Text(render(report(), details())).text
    for told in (
        "from 8 real questions",
        "9 000 to 14 000 12 480 ✓",
        "0.12 USD to 0.9 USD 1.30 USD ✗",
        "1 of 2 lie inside",
        "done with other settings than planned: train",
    ):
        assert told in text, told


def test_a_run_that_nobody_planned_says_so():
    assert "Nobody planned this run" in Text(render(report(plan=None), details())).text


def test_the_page_says_what_happened():
    text = Text(render(report(), details())).text
    for told in (
        "71.2 % of new prompts, its teacher on 38.4 %: 32.8 points better",
        "No clear difference (−3.0 to +7.0 points)",
        "paired test p < 0.001",
        "+4.2 % against the teacher",
        "Accepted 2000 of 12480 2 000 16.0 %",
        "from 2.500 to 0.500",
        "declares that it learned from Llama-3.1-405B-Instruct",
        "it allows derivative works",
        "Keep the notices.",
        "not legal advice",
        "3 min 32 s",
        "✓ passes",
        "✗ fails",
        "bullets: 0 of 3",
        "trueseed verify work",
        "9c" * 32,
    ):
        assert told in text.replace("\u202f", " "), told


def test_several_teachers_are_told_apart_with_why_the_next_one_was_asked():
    one = Taught(source=SOURCE, asked=100, accepted=40)
    assert "Who answered" not in render(report(teachers=(one,)), details())
    gone = Taught(source="acme/large@api", asked=9, accepted=0, left="acme <suspended> us")
    text = Text(render(report(teachers=(gone, one)), details())).text
    for told in ("0 of 9", "acme <suspended> us", "40 of 100", "the teacher’s scores are this one’s"):
        assert told in text.replace("\u202f", " "), told
    assert "learned from huggingfacetb" in text.replace("\u200b", "")


def test_the_same_ruling_for_two_steps_is_one_row():
    text = Text(render(report(), details())).text
    assert text.count("it allows derivative works") == 1
    assert "in generate, train" in text


def test_the_page_needs_nothing_from_elsewhere():
    page = render(report(), details())
    parsed = Text(page)
    assert "script" not in {tag for tag, _ in parsed.tags}
    assert not {"src", "srcset", "action"} & {name for _, attributes in parsed.tags for name in attributes}
    assert all(str(attributes["href"]).startswith("#") for _, attributes in parsed.tags if "href" in attributes)
    assert "default-src 'none'" in page
    assert "url(" not in page and "@import" not in page


EVIL = "</title></style></pre><script>alert(1)</script><img src=x onerror=alert(2)>\"'&{{ 7 * 7 }}"


def test_nothing_that_anyone_says_becomes_markup():
    said = Said(text=EVIL, faults=(EVIL,))
    duty = dataclasses.replace(NOTICE, text=EVIL, value=EVIL, document=EVIL, clause=EVIL)
    ruling = Ruling(
        source=EVIL, use=EVIL, permitted=False, document=EVIL, version=EVIL, clause=EVIL, because=EVIL, steps=(EVIL,)
    )
    evil_report = report(
        teacher=EVIL,
        student=EVIL,
        sources=(EVIL,),
        obligations=(duty,),
        records=Counts(asked=9, accepted=1, rejected={EVIL: 8}, kept=0, dropped={EVIL: 1}),
        ledger=LedgerHead(entries=1, root=EVIL, checkpoint=EVIL),
    )
    evil_details = details(
        name=EVIL,
        made_at=EVIL,
        project=EVIL,
        machine=EVIL,
        workspace=EVIL,
        kinds={EVIL: {EVIL: KindScore(teacher=0, student=1, n=1)}},
        nodes=(Node(id="a", label=EVIL, kind=EVIL), Node(id="b", label=EVIL, kind="weights")),
        edges=(Edge(start="a", end="b"),),
        rulings=(ruling,),
        upstream=(Upstream(source=EVIL, teacher=EVIL),),
        samples=(Sample(set=EVIL, prompt=EVIL, constraints=(EVIL,), teacher=said, student=said),),
    )
    parsed = Text(render(evil_report, evil_details))
    assert not {"script", "img"} & {tag for tag, _ in parsed.tags}
    assert not any(name.startswith("on") for _, attributes in parsed.tags for name in attributes)
    assert "49" not in parsed.text
    assert parsed.text.count("alert(1)") >= 30


def test_a_page_without_extras_is_still_a_page():
    page = render(report(obligations=(), sources=()), Details(name="seedling", made_at="2026-11-21T09:30:00Z"))
    text = Text(page).text
    for told in ("No loss was recorded", "No samples were kept", "No verdict was recorded", "Nothing is declared"):
        assert told in text


@pytest.mark.parametrize(
    ("difference", "told"),
    [(0.3, "30.0 points better"), (-0.3, "30.0 points worse"), (0.01, "within the noise")],
)
def test_the_headline_says_no_more_than_the_interval_allows(difference, told):
    comparison = dataclasses.replace(report().scores, difference=scores(difference, 0, 0))
    assert told in headline(report(scores=comparison))


def test_nothing_asked_is_not_a_division_by_zero():
    assert "Kept" in render(report(records=Counts(asked=0, accepted=0, kept=0)), details())


def test_answers_from_the_cache_are_told_when_there_were_some():
    records = Counts(asked=12, accepted=3, kept=2)
    assert "came from the cache" not in render(report(records=records), details())
    assert "7 of them" in render(report(records=dataclasses.replace(records, cached=7)), details())


def test_durations_are_read_easily():
    assert [duration(seconds) for seconds in (3.14, 252, 4000)] == ["3.1 s", "4 min 12 s", "1 h 07 min"]


def test_a_long_name_breaks_after_its_marks():
    assert breakable("a/b@c<d") == "a/<wbr>b@<wbr>c&lt;d"


def test_a_loss_curve_may_be_one_point_or_flat():
    one = (Point(step=1, loss=0.5, lr=0.0),)
    assert "polyline" in plots.curve(one) and "polyline" in plots.learning_rate(one)
    flat = tuple(Point(step=step, loss=0.5, lr=1e-4) for step in (1, 2, 3))
    assert "nan" not in plots.curve(flat, Validation(before=0.5, after=0.5))


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[Node], list[Edge]]:
    n = draw(st.integers(1, 8))
    pairs = draw(st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)), max_size=14, unique=True))
    nodes = [Node(id=str(i), label=f"node {i}", kind="records") for i in range(n)]
    return nodes, [Edge(start=str(a), end=str(b)) for a, b in pairs]


def drawn(nodes: list[Node], edges: list[Edge]) -> dict[str, tuple[float, float]]:
    svg = str(plots.lineage(nodes, edges))
    boxes = re.findall(r'<title>node (\d+)</title><rect x="([\d.]+)" y="([\d.]+)"', svg)
    return {name: (float(x), float(y)) for name, x, y in boxes}


@given(graphs())
def test_every_node_has_a_place_of_its_own(graph):
    nodes, edges = graph
    places = drawn(nodes, edges)
    assert places.keys() == {node.id for node in nodes}
    taken = list(places.values())
    assert all(
        abs(x - other_x) >= plots.BOX_WIDE or abs(y - other_y) >= plots.BOX_HIGH
        for i, (x, y) in enumerate(taken)
        for other_x, other_y in taken[i + 1 :]
    )


@given(graphs())
def test_what_was_made_stands_below_what_it_was_made_from(graph):
    nodes, edges = graph
    forward = [edge for edge in edges if edge.start < edge.end]
    places = drawn(nodes, forward)
    assert all(places[edge.start][1] < places[edge.end][1] for edge in forward)


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1180, 375])
def test_the_page_fits_the_screen(browser, tmp_path, scheme, width):
    folder = Path(os.environ.get("SCREENSHOTS", tmp_path))
    (tmp_path / "report.html").write_text(render(report(), details()), encoding="utf-8")
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.goto((tmp_path / "report.html").as_uri())
    page.screenshot(path=folder / f"report-{scheme}-{width}.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
    assert said == []
    context.close()
