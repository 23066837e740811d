"""Records that are too long to be read whole are told wherever a run speaks of its training."""

import json
from pathlib import Path

from tests.report.test_html import Text
from tests.tiny_run import run_file
from typer.testing import CliRunner

from trueseed.cli import app
from trueseed.core.records import read_parquet
from trueseed.ledger.lineage import Lineage
from trueseed.lm.format import Format
from trueseed.papers import card, dossier
from trueseed.workspace import Workspace


def test_the_run_its_report_its_page_and_the_card_say_how_many_were_left_out(tmp_path: Path, brief_llama: Path) -> None:
    work, form = tmp_path / "work", Format(brief_llama)
    file = run_file(tmp_path, brief_llama, train={"max_length": 75, "max_steps": 1})
    done = CliRunner().invoke(app, ["run", str(file), "--workspace", str(work)])
    assert done.exit_code == 0, done.output
    place = Workspace.open(work)
    lineage = Lineage.read(place.ledger)
    dataset = place.store.get(f"dataset:{lineage.newest('dataset', step='curate').digest}")
    parts = [read_parquet(dataset.path(f"{part}.parquet")) for part in ("train", "validation")]
    long = [[record for record in part if len(form.training(record.messages)[0]) > 75] for part in parts]
    left_out = sum(map(len, long))
    assert 0 < left_out < sum(map(len, parts)), "another bound is needed"
    assert f"{len(long[0])} of {len(parts[0])} records left out (`too_long: drop`): more than 75" in done.output
    assert f"train   records left out as too long: {left_out} (`too_long: drop`)" in done.output
    numbers = json.loads((work / "report.json").read_text())["training"]["numbers"]
    assert numbers == {"records left out as too long": left_out}
    assert f"Records left out as too long {left_out}" in Text((work / "report.html").read_text()).text
    student = place.store.get(f"weights:{lineage.newest('weights', step='train').digest}")
    assert f"records left out as too long {left_out}" in card.render(dossier.of(place, student, "tiny-student"))
