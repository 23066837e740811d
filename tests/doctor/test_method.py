"""What the doctor says of how a student will be taught."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.tiny_run import run_file

from trueseed import runfile
from trueseed.doctor import method
from trueseed.doctor.check import Check


@pytest.fixture
def look(tmp_path: Path, tiny_llama: Path) -> Callable[..., dict[str, Check]]:
    """By name. said: what config.json of the student's base says otherwise; the rest is of `train`."""

    def looked(said: dict[str, Any] | None = None, **train: Any) -> dict[str, Check]:
        base = tmp_path / "base"
        shutil.copytree(tiny_llama, base, dirs_exist_ok=True)
        config = json.loads((base / "config.json").read_text())
        (base / "config.json").write_text(json.dumps({**config, **(said or {})}))
        file = runfile.load(run_file(tmp_path, tiny_llama, base={"weights": str(base)}, train=train))
        return {check.name: check for check in method.checks(file)}

    return looked


def test_a_packed_architecture_is_well(look):
    found = look()["architecture"]
    assert (found.status, found.next) == ("ok", "")
    assert "'llama' are packed" in found.meaning


def test_an_architecture_that_trains_slowly_is_a_warning_that_says_why(look):
    found = look({"model_type": "olmo"})["architecture"]
    assert found.status == "warning"
    assert "'olmo' is not packed" in found.meaning and "logits are made at all positions" in found.meaning


def test_a_teacher_is_looked_at_where_it_stays_in_memory(look):
    assert look(method="on_policy")["teacher's architecture"].status == "ok"
    assert "teacher's architecture" not in look(method="distil")
