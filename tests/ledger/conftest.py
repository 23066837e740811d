"""A ledger of a test's own, and statements as the door writes them."""

import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

from trueseed.core.merkle import leaf_hash, root
from trueseed.ledger.checkpoint import Checkpoint
from trueseed.ledger.log import Ledger
from trueseed.ledger.signing import Signer, load
from trueseed.ledger.statement import STEP, WITHDRAWAL, subject

TEACHER, JUDGE, OWN = "huggingfacetb/smollm2-135m-instruct@weights", "mistral/mistral-large@api", "own/prompts"


def digest_of(name: str) -> str:
    """A digest that a person can tell apart."""
    return name.encode().hex().ljust(64, "0")


class Door:
    """Writes opened and closing statements, as the workspace does."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.runs = 0

    def say(self, event: str, **said: Any) -> None:
        predicate = {"step": "", "inputs": [], "outputs": [], "labels": [], "asks": [], "effect": "none", **said}
        about = predicate["inputs" if event == "opened" else "outputs"]
        subjects = [subject(each["kind"], each["digest"]) for each in about]
        self.ledger.append(STEP, subjects, {"event": event, "at": "2026-01-01T00:00:00Z", **predicate})

    def step(
        self,
        name: str,
        inputs: Sequence[str] = (),
        outputs: Sequence[str] = (),
        labels: Iterable[tuple[str, str, str]] = (),
        **said: Any,
    ) -> None:
        """Opens and closes a step; artifacts are written `kind:name`."""
        self.runs += 1
        predicate = {
            "run": f"run{self.runs}",
            "step": name,
            "inputs": [named(each) for each in inputs],
            "labels": [dict(zip(("source", "relation", "terms"), label, strict=True)) for label in labels],
            **said,
        }
        self.say("opened", **predicate)
        self.say("done", **predicate | {"outputs": [named(each) for each in outputs]})


def named(text: str) -> dict[str, str]:
    kind, _, name = text.partition(":")
    return {"kind": kind, "digest": digest_of(name)}


@pytest.fixture(autouse=True)
def unsynced(monkeypatch: pytest.MonkeyPatch) -> None:
    """fsync guards against power cuts, and no test cuts the power; without it they take seconds, not minutes."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "work" / "ledger"


@pytest.fixture
def ledger(folder: Path, state: Path) -> Ledger:
    return Ledger.open(folder, state=state, create=True)


@pytest.fixture
def door(ledger: Ledger) -> Door:
    return Door(ledger)


@pytest.fixture
def river(door: Door) -> Ledger:
    """Prompts are brought in, a teacher answers, a judge filters, a student is trained, the judge is recalled."""
    own, output, judged = (OWN, "output", ""), (TEACHER, "output", "a" * 64), (JUDGE, "filter", "b" * 64)
    door.step("prompts", outputs=["prompts:p"], labels=[own], brings=[{"source": OWN, "relation": "output"}])
    asks = [{"source": TEACHER, "use": "train"}]
    door.step("generate", ["prompts:p"], ["records:r"], [own, output], asks=asks, effect="train")
    asks = [{"source": JUDGE, "use": "reward"}]
    door.step("curate", ["records:r"], ["dataset:d"], [own, output, judged], asks=asks, effect="train")
    door.step("train", ["dataset:d"], ["weights:w"], [own, output, judged], effect="train")
    door.ledger.append(
        WITHDRAWAL,
        [subject("weights", digest_of("w"))],
        {"source": JUDGE, "reason": "the terms changed", "at": "2026-02-01T00:00:00Z"},
        role="reviewer",
    )
    return door.ledger


@pytest.fixture
def digest_of_name() -> Callable[[str], str]:
    return digest_of


@pytest.fixture
def operator(ledger: Ledger, state: Path) -> Signer:
    """The operator's private key: whoever holds it can rewrite the ledger, as an insider would."""
    signer = load("operator", state / "keys")
    assert signer is not None
    return signer


@pytest.fixture
def rewrite(folder: Path, ledger: Ledger, operator: Signer) -> Callable[[list[bytes]], None]:
    """Replaces the entries, and signs a checkpoint for them: what an insider can do."""

    def rewritten(leaves: list[bytes]) -> None:
        (folder / "entries.jsonl").write_bytes(b"".join(leaf + b"\n" for leaf in leaves))
        whole = Checkpoint(origin=ledger.origin, size=len(leaves), root=root([leaf_hash(leaf) for leaf in leaves]))
        (folder / "checkpoint").write_text(whole.sign(operator))

    return rewritten


@pytest.fixture
def copied(tmp_path: Path) -> Callable[[Path, str], Path]:
    """A copy of a folder under another name."""

    def copy(source: Path, name: str) -> Path:
        return Path(shutil.copytree(source, tmp_path / name, ignore=shutil.ignore_patterns("lock")))

    return copy
