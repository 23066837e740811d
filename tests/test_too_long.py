"""Records that are too long to be read whole are told wherever a run speaks of its training."""

import json
from pathlib import Path

from tests.exchange.test_in_a_run import alone, recipes, written
from tests.report.test_html import Text
from typer.testing import CliRunner

from trueseed.cli import app
from trueseed.core.chat import Message, user
from trueseed.core.records import read_parquet
from trueseed.ledger.lineage import Lineage
from trueseed.lm.format import Format
from trueseed.papers import card, dossier
from trueseed.workspace import Workspace


def test_the_run_its_report_its_page_and_the_card_say_how_many_were_left_out(tmp_path: Path, brief_llama: Path) -> None:
    form, rows = Format(brief_llama), recipes()
    for at in (3, 6):
        rows[at]["completion"] += f" Tell {' and '.join(f'guest {at}{n}' for n in range(20))} to wait."
    written(tmp_path, *rows)
    chats = [(*user(row["prompt"]), Message("assistant", row["completion"])) for row in rows]
    most = sorted(len(form.training(chat)[0]) for chat in chats)[-3]
    train = {"max_length": most, "max_steps": 1, "tokens_per_batch": 4096, "dtype": "float32"}
    work = tmp_path / "work"
    done = CliRunner().invoke(app, ["run", str(alone(tmp_path, brief_llama, train=train)), "--workspace", str(work)])
    assert done.exit_code == 0, f"{done.output} {done.exception}"
    place = Workspace.open(work)
    lineage = Lineage.read(place.ledger)
    dataset, student = (
        place.store.get(f"{kind}:{lineage.newest(kind, step=step).digest}")
        for kind, step in (("dataset", "curate"), ("weights", "train"))
    )
    parts = [[*read_parquet(dataset.path(f"{part}.parquet"))] for part in ("train", "validation")]
    long = [sum(len(form.training(record.messages)[0]) > most for record in part) for part in parts]
    assert sum(long) == 2
    for part, many in zip(parts, long, strict=True):
        assert not many or f"{many} of {len(part)} records left out (`too_long: drop`): more than {most}" in done.output
    assert "train   records left out as too long: 2 (`too_long: drop`)" in done.output
    numbers = json.loads((work / "report.json").read_text())["training"]["numbers"]
    assert numbers == {"records left out as too long": 2}
    assert "Records left out as too long 2" in Text((work / "report.html").read_text()).text
    assert "records left out as too long 2" in card.render(dossier.of(place, student, "tiny-student"))
