"""The law: no chain of our own transforms ever yields fewer labels."""

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trueseed.curate import redact
from trueseed.exchange.bring import Config, bring
from trueseed.exchange.hand_out import hand_out
from trueseed.workspace import Workspace

pytest.importorskip("presidio_analyzer")
WORDS = [
    "soup",
    "tide",
    "moon",
    "bread",
    "harbour",
    "lantern",
    "winter",
    "orchard",
    "copper",
    "violin",
    "meadow",
    "fog",
]
answers = st.lists(
    st.permutations(WORDS).map(lambda words: " ".join([*words, "jo@example.com"])), min_size=1, max_size=3, unique=True
)


@given(answers, st.lists(st.sampled_from(["redact", "out and in", "out and in, bare"]), min_size=1, max_size=3))
@settings(max_examples=4, deadline=None)
def test_no_chain_of_transforms_yields_fewer_labels(said, chain):
    with tempfile.TemporaryDirectory() as folder:
        place = Workspace.open(Path(folder) / "work", create=True)
        rows = [{"prompt": "What?", "completion": each} for each in said]
        current, carried = _in(place, Path(folder), rows, "own/first", 0), set()
        for number, name in enumerate(chain, start=1):
            carried |= place.labels(current)
            if name == "redact":
                with place.step("redact", inputs=[current], config={"n": number}) as step:
                    current = redact.redact(redact.Config(types=["EMAIL_ADDRESS"]), current, step)
            else:
                out = Path(folder) / f"out{number}.jsonl"
                hand_out(place, current, out)
                rows = [json.loads(line) for line in reversed(out.read_text().splitlines())]
                rows = [{"messages": row["messages"]} for row in rows] if name.endswith("bare") else rows
                current = _in(place, Path(folder), rows, f"own/reader{number}", number)
            assert place.labels(current) >= carried


def _in(place, folder, rows, source, number):
    path = folder / f"in{number}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return bring(place, Config(file=str(path), source=source, inherit=True)).records
