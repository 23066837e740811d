"""The law: work that is split over keys, projects and workspaces of an account shrinks no total, limit or label."""

import json
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trueseed.core.chat import Request, user
from trueseed.errors import Paused, Refused
from trueseed.exchange.bring import Config, bring
from trueseed.exchange.hand_out import hand_out
from trueseed.teachers.account.limits import Limit
from trueseed.teachers.account.state import Account, our_entity
from trueseed.teachers.api.providers import Endpoint
from trueseed.teachers.bound import bound
from trueseed.teachers.simulator import Behaviour, Simulator, simulator
from trueseed.teachers.supplier.month import Month
from trueseed.teachers.supplier.usage import Wanted, report
from trueseed.teachers.voice import BehindAnApi
from trueseed.terms.model import Facts, Use
from trueseed.workspace import Workspace

DEEPSEEK = "deepseek/deepseek-chat@api"  # its terms permit training
KEYS = ("SPLIT_A", "SPLIT_B", "SPLIT_C")
calls = st.lists(st.tuples(st.sampled_from(KEYS), st.integers(0, 2)), min_size=2, max_size=5)  # key, workspace


@pytest.fixture(scope="module")
def provider() -> Iterator[Simulator]:
    with simulator(Behaviour()) as running:
        yield running


class Split:
    """Calls of one legal entity, under several keys, each from a workspace and a project of its own."""

    def __init__(self, folder: Path, provider: Simulator, limit: int | None = None) -> None:
        self.folder, self.provider = folder, provider
        per_maker = [Limit(source="deepseek/*", per="total", requests=limit)] if limit is not None else []
        self.limits, self.asked, self.said = per_maker, 0, []

    def workspace(self, n: int) -> Workspace:
        place = Workspace.open(self.folder / f"work{n}", create=True)
        place.declare(f"project {n}", Facts())
        return place

    def ask(self, key: str, n: int, questions: int) -> None:
        endpoint = Endpoint(
            source=DEEPSEEK, model="simulated", base_url=self.provider.openai, key_from=key,
            price={"input": 1.0, "output": 2.0},
        )  # fmt: skip
        requests = [Request(messages=user(f"Question {self.asked + i}"), max_tokens=60) for i in range(questions)]
        voice, self.asked = BehindAnApi(endpoint, None, self.limits), self.asked + questions
        opened = self.workspace(n).step("ask", ask={DEEPSEEK: Use.TRAIN}, config={"from": self.asked})
        with opened as step, bound(voice, step, cache=True) as teacher:
            self.said += [answer.text for _, answer in teacher.answers(requests)]

    def used(self):
        month = Month.parse(f"{datetime.now(UTC):%Y-%m}")
        wanted = Wanted(maker="deepseek", month=month)
        return report(wanted, account=Account.open(), entity=our_entity(), now=datetime.now(UTC))


@given(calls)
@settings(max_examples=2, deadline=None)
def test_totals_and_fingerprints_span_every_key_project_and_workspace(provider, split_calls):
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRUESEED_STATE", f"{folder}/state")
        for key in KEYS:
            patch.setenv(key, f"sk-{key.lower()}-0123456789abcdef")
        provider.reset()
        split, parts = Split(Path(folder), provider), defaultdict(int)
        for each in split_calls:
            parts[each] += 1
        for (key, n), questions in parts.items():
            split.ask(key, n, questions)
        found = split.used()
        assert found.totals.calls.answered == found.totals.charged.requests == len(split_calls)
        assert sum(day.calls.answered for day in found.days.values()) == len(split_calls)
        assert {line.project for line in found.lines} == {f"project {n}" for _, n in parts}
        elsewhere = split.workspace(9)
        rows = Path(folder) / "rows.jsonl"
        rows.write_text("".join(json.dumps({"prompt": "Why?", "completion": text}) + "\n" for text in split.said))
        with pytest.raises(Refused, match=DEEPSEEK):
            bring(elsewhere, Config(file=str(rows), source="own/me"))
        brought = bring(elsewhere, Config(file=str(rows), source="own/me", inherit=True))
        assert brought.contradictions["known"] == len(split_calls)
        assert DEEPSEEK in {label.source for label in brought.labels}
        hand_out(elsewhere, brought.records, Path(folder) / "out.jsonl")
        half = [json.loads(line) for line in (Path(folder) / "out.jsonl").read_text().splitlines()][::2]
        (Path(folder) / "half.jsonl").write_text("".join(json.dumps({"messages": r["messages"]}) + "\n" for r in half))
        again = bring(
            split.workspace(8), Config(file=f"{folder}/half.jsonl", source="own/me", inherit=True)
        )  # a half of it, by itself, elsewhere
        assert set(again.labels) >= set(brought.labels)


def test_a_limit_binds_them_all_together(provider, tmp_path, monkeypatch):
    for key in KEYS:
        monkeypatch.setenv(key, f"sk-{key.lower()}-0123456789abcdef")
    provider.reset()
    split = Split(tmp_path, provider, limit=3)
    split.ask("SPLIT_A", 0, 2)
    split.ask("SPLIT_B", 1, 1)
    with pytest.raises(Paused):
        split.ask("SPLIT_C", 2, 1)
    assert provider.counts()["billed"] == 3
