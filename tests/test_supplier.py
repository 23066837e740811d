"""The verbs towards a maker, as a person gives them: what they print, what they write, and their exit codes."""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.teachers.account.test_allowance import ask
from tests.teachers.api.test_remote import DEEPSEEK, Place
from tests.teachers.supplier.test_reconcile import around_us, questions

from trueseed import cli
from trueseed.teachers.account.allowance import Allowance, Amount
from trueseed.teachers.account.state import Account
from trueseed.teachers.simulator import Behaviour, simulator

MONTH = f"{datetime.now(UTC):%Y-%m}"


@pytest.fixture
def trueseed(capsys, monkeypatch):
    """Gives a command in this process; returns exit code and what was printed."""

    def run(*words: str | Path) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["trueseed", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        code = ended.value.code
        return (code if isinstance(code, int) else 0), said.out + said.err

    return run


def answered(n: int = 1, project: str = "seed") -> None:
    allowance = Allowance(Account.open(), (), "us")
    for _ in range(n):
        allowance.settle(ask(allowance, project=project), Amount(1, 100, 250), "answered")


def test_a_report_is_written_signed_checked_and_found_out_when_it_was_edited(trueseed, tmp_path):
    answered(3)
    answered(2, project="other\x1b[31m")
    path = tmp_path / "report.json"
    code, said = trueseed("usage", "--maker", "openai", "--month", MONTH, "-o", path)
    assert code == 0
    assert "\x1b" not in said
    assert "not reconciled" in said
    key = next(word for line in said.splitlines() if line.startswith("key") for word in line.split()[1:])
    assert trueseed("verify", path, "--key", key)[0] == 0
    other = Path(str(path) + ".key")
    other.write_text(key)
    assert trueseed("verify", path, "--key", other, "--json")[0] == 0
    signed = json.loads(path.read_text())
    signed["payload"] = signed["payload"][:-8] + "AAAAAAA="
    path.write_text(json.dumps(signed))
    assert trueseed("verify", path, "--key", key)[0] in (2, 4)
    path.write_text("{}")
    assert trueseed("verify", path)[0] == 2


def test_a_partial_report_says_so_on_the_screen(trueseed):
    answered(3)
    answered(2, project="other")
    code, said = trueseed("usage", "--maker", "openai", "--month", MONTH, "--project", "seed")
    assert code == 0
    assert "PARTIAL: narrowed to project 'seed'; it leaves out 2 calls" in said
    code, said = trueseed("usage", "--maker", "openai", "--month", MONTH, "--use", "dance")
    assert code == 2


def test_a_run_files_endpoint_is_asked_and_calls_around_us_exit_with_four(trueseed, tmp_path, monkeypatch):
    monkeypatch.setenv("ADMIN", "sk-admin-0123456789")
    place, today = Place(tmp_path), f"{datetime.now(UTC):%Y-%m-%d}"
    with simulator(Behaviour(admin_key="sk-admin-0123456789")) as provider:
        (tmp_path / "gateway.yaml").write_text(
            f"upstreams:\n  - {{source: {DEEPSEEK}, model: simulated, base_url: '{provider.openai}'}}\n"
        )
        words = ["reconcile", "--maker", "deepseek", "--month", MONTH, "--endpoint-from", tmp_path / "gateway.yaml",
                 "--key-from", "ADMIN", "--through", today, "-w", place.workspace.folder]  # fmt: skip
        with place.remote(provider.openai) as remote:
            dict(remote.answers(questions(2)))
        code, said = trueseed(*words)
        assert code == 0, said
        assert said.startswith("agrees: deepseek")
        around_us(provider)
        code, said = trueseed(*words, "--dry-run")
        assert code == 4
        assert f"outside: {today}: 1 call to simulated that TrueSeed never made" in said
        code, said = trueseed(*words, "--json")
        assert (code, json.loads(said)["outside"]) == (4, 1)
    code, said = trueseed("usage", "--maker", "deepseek", "--month", MONTH, "--json")
    assert [each["verdict"] for each in json.loads(said)["report"]["reconciliations"]] == ["agrees", "outside"]
    assert trueseed(*words)[0] == 5  # the provider is gone
    assert trueseed("verify", place.workspace.folder)[0] == 0


def test_figures_that_cannot_be_had_or_read_are_the_users_mistake(trueseed, tmp_path):
    Place(tmp_path)
    (tmp_path / "bad.csv").write_text("when,what\n")
    common = ["reconcile", "--maker", "openai", "--month", MONTH, "-w", tmp_path / "work"]
    for words in (
        [],
        ["--csv", tmp_path / "bad.csv"],
        ["--csv", tmp_path / "nowhere.csv"],
        ["--csv", tmp_path / "bad.csv", "--endpoint-from", tmp_path / "bad.csv"],
        ["--endpoint-from", tmp_path / "nowhere.yaml"],
        ["--csv", tmp_path / "bad.csv", "--model", "gpt-4"],
        ["--csv", tmp_path / "bad.csv", "--through", "yesterday"],
    ):
        code, said = trueseed(*common, *words)
        assert code == 2, said
        assert "Traceback" not in said


# -- limits of the account


def test_a_limit_is_set_shown_with_what_is_used_of_it_and_removed(trueseed):
    whose = ("--source", "openai/*", "--per", "day")
    assert "no limits of its own" in trueseed("allowance", "show")[1]
    code, said = trueseed("allowance", "set", *whose, "--project", "seed", "--requests", "500", "--usd", "12.50")
    assert (code, "12.50 USD a day" in said) == (0, True)
    answered(3)
    code, said = trueseed("allowance", "show")
    assert (code, "3 of 500 requests and 0.000750 of 12.50 USD a day, renewed at " in said) == (0, True)
    (shown,) = json.loads(trueseed("allowance", "show", "--json")[1])["limits"]
    assert (shown["micros"], shown["used"]["micros"], shown["project"]) == (12_500_000, 750, "seed")
    assert datetime.fromisoformat(shown["renewed_at"]) > datetime.now(UTC)
    assert trueseed("allowance", "remove", *whose)[0] == 2  # that is another: of all projects
    assert trueseed("allowance", "remove", *whose, "--project", "seed")[0] == 0
    assert json.loads(trueseed("allowance", "show", "--json")[1])["limits"] == []


@pytest.mark.parametrize(
    "words",
    [
        ("set", "--source", "openai/*", "--per", "day"),
        ("set", "--source", "openai/*", "--per", "week", "--requests", "1"),
        ("set", "--source", "openai/*", "--per", "day", "--requests", "-1"),
        ("set", "--source", "openai", "--per", "day", "--requests", "1"),
        ("set", "--source", "openai/*", "--per", "day", "--use", "trian", "--requests", "1"),
        *(("set", "--source", "openai/*", "--per", "day", "--usd", usd) for usd in ("nan", "-1", "0.0000001", "ten")),
        ("remove",),
        ("remove", "7"),
        ("remove", "7", "--per", "day"),
        ("remove", "--source", "openai/*", "--per", "day"),
    ],
)
def test_nonsense_about_a_limit_is_refused_and_changes_nothing(trueseed, words):
    code, said = trueseed("allowance", *words)
    assert (code, "Traceback" in said) == (2, False)
    assert json.loads(trueseed("allowance", "show", "--json")[1])["limits"] == []
