"""A tool that is not ours, unmodified as PyPI has it, asks through the gateway.

distilabel has an environment of its own, of which `TRUESEED_DISTILABEL` is the python; `make bench` makes it and runs
this. It is 630 MB and a minute to install, too much for every run of the tests.
"""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.gateway.conftest import DEEPSEEK, Place

from trueseed.ledger.calls import CALLS, prove
from trueseed.terms.model import Use

PATIENCE_S = 300


@pytest.fixture
def distilabel() -> str:
    python = os.environ.get("TRUESEED_DISTILABEL")
    if not python:
        pytest.skip("TRUESEED_DISTILABEL does not name the python of an environment with distilabel[openai]")
    return python


def run(python: str, place: Place, key: str, use: str = "") -> Any:
    """What distilabel says at the end."""
    script = Path(__file__).with_name("distilabel_run.py")
    words = [python, str(script), f"{place.url}/v1", key, DEEPSEEK, use]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE_S, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.strip().splitlines()[-1])


@pytest.mark.slow
def test_distilabel_generates_through_the_gateway_and_its_calls_stand_in_the_ledger(opened, distilabel):
    with opened() as place:
        said = run(distilabel, place, place.key(Use.JUDGE))
        counts = place.provider.counts()
        tokens, _ = place.charged()
    assert len(said) == counts["billed"] == 3
    assert all(said)
    assert tokens == counts["prompt_tokens"] + counts["completion_tokens"]
    calls = place.calls()
    assert [(call["use"], call["project"], call["end"]) for call in calls] == [("judge", "seed", "answered")] * 3
    ledger = place.workspace.ledger
    ledger.refresh()
    for call in calls:
        proof = prove(ledger, place.folder / CALLS, call["call"])
        assert proof.verifies(ledger.entry(proof.entry).predicate["calls"]["root"])


@pytest.mark.slow
def test_distilabel_with_a_key_for_judging_is_refused_for_training(opened, distilabel):
    with opened() as place:
        said = run(distilabel, place, place.key(Use.JUDGE), "train")
        assert (said["status"], said["code"]) == (403, "use_not_permitted")
        assert place.provider.counts()["billed"] == 0
        assert place.used() == []
