"""What the stories share: a day that is not today's, a provider that would answer, and a workspace."""

import os
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.story.people import ANOTHER_KEY, KEY, Place

from trueseed.teachers.simulator import Behaviour, Simulator, simulator

On = Callable[[str], None]
KNOW_THE_DAY = ("core.canonical", "workspace.place", "pipeline", "models", "exchange.look", "cli.show", "recall")


@pytest.fixture
def on(monkeypatch: pytest.MonkeyPatch) -> On:
    """`on("2023-12-15")`: from here on it is noon of that day, for whatever asks the terms or writes the time down."""

    def happens(day: str) -> None:
        noon = datetime.fromisoformat(f"{day}T12:00:00").replace(tzinfo=UTC)

        class Then(datetime):
            @classmethod
            def now(cls, tz: Any = None) -> datetime:
                return noon

        for module in KNOW_THE_DAY:
            monkeypatch.setattr(f"trueseed.{module}.datetime", Then)

    return happens


@pytest.fixture(scope="session")
def running() -> Iterator[Simulator]:
    with simulator() as provider:
        yield provider


@pytest.fixture(scope="session")
def elsewhere() -> Iterator[dict[str, Any]]:
    """Another maker's account: its address and key, as an endpoint names them."""
    with simulator() as provider:
        yield {"base_url": provider.openai, "key_from": "ANOTHER_KEY"}


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORY_KEY", KEY)
    monkeypatch.setenv("ANOTHER_KEY", ANOTHER_KEY)


@pytest.fixture
def provider(running: Simulator) -> Simulator:
    """Whoever calls it is let in and billed, whatever the key: that nobody was is what its counts tell."""
    running.reset()
    running.behave(Behaviour())
    return running


@pytest.fixture
def place(tmp_path: Path, provider: Simulator, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # no story here cuts the power
    return Place(folder=tmp_path, provider=provider)


Beginning = Callable[[Place, On], None]


@pytest.fixture
def begun(
    request: pytest.FixtureRequest, place: Place, on: On, own_state: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[Beginning], Place]:
    """`begun(beginning)`: a place at which that has happened. It happens once a process, and every test goes on with a
    copy of its own: of the workspace, and of the user's state that belongs to it.
    """

    def at(beginning: Beginning) -> Place:
        if beginning not in _KEPT:
            with pytest.MonkeyPatch.context() as then:
                kept = tmp_path_factory.mktemp("begun")
                then.setenv("TRUESEED_STATE", str(kept / "state"))
                beginning(Place(folder=kept / "place", provider=place.provider), on)
                _KEPT[beginning] = kept
        shutil.copytree(_KEPT[beginning] / "state", own_state, dirs_exist_ok=True)
        shutil.copytree(_KEPT[beginning] / "place", place.folder, dirs_exist_ok=True)
        place.provider.reset()
        return place

    return at


_KEPT: dict[Beginning, Path] = {}
