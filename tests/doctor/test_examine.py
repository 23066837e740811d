"""The doctor against a provider on loopback, and against addresses where there is none."""

import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from tests.tiny_run import run_file
from typer.testing import CliRunner

from trueseed import runfile
from trueseed.cli import app
from trueseed.core.canonical import now
from trueseed.core.durable import state_folder
from trueseed.doctor.check import Check, Findings
from trueseed.doctor.examine import examine
from trueseed.ledger.statement import WITHDRAWAL
from trueseed.teachers.account.holds import Holds, hold
from trueseed.teachers.account.limits import Limit
from trueseed.teachers.account.quotas import Refusal, meet
from trueseed.teachers.account.shared import Shared
from trueseed.teachers.account.state import Account, our_entity
from trueseed.teachers.account.way import Way
from trueseed.teachers.simulator import Behaviour, Simulator, simulator
from trueseed.terms.catalog import SHIPPED
from trueseed.workspace import Workspace

KEY = "sk-doctor-5up3rs3cr3t-0123456789"
pytestmark = pytest.mark.xdist_group("doctor")


@pytest.fixture(scope="module")
def provider() -> Iterator[Simulator]:
    with simulator(Behaviour(models=("large", "small"), keys=(KEY,))) as running:
        yield running


@pytest.fixture
def look(tmp_path: Path, tiny_llama: Path, provider: Simulator) -> Callable[..., Findings]:
    """Examines a run file with a remote teacher; `changes` replace parts of it."""

    def examined(remote: dict[str, Any] | None = None, key: str = KEY, **changes: Any) -> Findings:
        endpoint = {"source": "own/served", "model": "large", "base_url": provider.openai, "key_from": "DOCTOR_KEY"}
        contract = {"contract": changes.pop("contract")} if "contract" in changes else {}
        teacher = {"remote": {**endpoint, **(remote or {})}, **contract}
        file = runfile.load(run_file(tmp_path, tiny_llama, teacher=teacher, **changes))
        return examine(file, tmp_path / "work", {"DOCTOR_KEY": key})

    return examined


def found(findings: Findings, name: str, of: str = "teacher") -> Check:
    return next(check for check in findings.checks if check.name == name and check.of == of)


def test_all_is_well_and_nothing_was_asked(look, provider):
    findings = look()
    assert findings.exit_code == 0
    assert not [check for check in findings.checks if check.status == "fails"]
    assert {check.name for check in findings.checks} >= {
        "address", "TLS", "key", "model", "capabilities", "hold", "allowance", "region", "contract", "price",
        "terms for train", "terms for benchmark_teacher", "weights", "digest", "licence", "memory", "disk",
    }  # fmt: skip
    assert findings.unchecked
    assert provider.counts()["billed"] == 0


def test_a_prompts_file_with_a_broken_line_is_told_beforehand(look, tmp_path):
    (tmp_path / "mine.jsonl").write_text('{"id": "a", "prompt": "Hello"}\n{"id": "b"}\n')
    findings = look(prompts={"file": "mine.jsonl", "source": "own/me"})
    check = found(findings, "file", of="prompts")
    assert "line 2: 'prompt' must be a string" in check.meaning
    assert check.next == "correct the prompts that `prompts` names"
    assert findings.exit_code == 2


def test_a_wrong_key(look):
    findings = look(key="sk-wrong-0123456789")
    assert found(findings, "key").status == "fails"
    assert findings.exit_code == 2
    assert "sk-wrong-0123456789" not in json.dumps(findings.to_json())


def test_a_missing_key_names_the_variable(look):
    findings = look(key="")
    assert "DOCTOR_KEY" in found(findings, "key").next
    assert findings.exit_code == 2


def test_a_wrong_model_names_those_that_are_there(look):
    findings = look({"model": "lall"})
    assert found(findings, "model").next == "set `model` to one of its names, for example small, large"
    assert findings.exit_code == 2


def test_nothing_listens_there(look):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    findings = look({"base_url": f"http://127.0.0.1:{port}/v1"})
    assert "nothing answers" in found(findings, "address").meaning
    assert findings.exit_code == 5


def test_a_name_that_nobody_knows(look):
    findings = look({"base_url": "http://nowhere.invalid/v1"})
    assert "no machine of that name" in found(findings, "address").meaning
    assert findings.exit_code == 2


def test_a_certificate_that_cannot_be_trusted(look, tmp_path):
    with serving(tmp_path, b"{}", certificate=True) as port:
        findings = look({"base_url": f"https://127.0.0.1:{port}/v1"})
    assert "certificate cannot be trusted" in found(findings, "TLS").meaning
    assert findings.exit_code == 2


def test_a_page_instead_of_json(look, tmp_path):
    with serving(tmp_path, b"<html><body>Welcome to the router</body></html>") as port:
        findings = look({"base_url": f"http://127.0.0.1:{port}/v1"})
    assert "not with a list of models" in found(findings, "address").meaning
    assert findings.exit_code == 2


def test_a_redirect_is_not_followed(look, tmp_path):
    with serving(tmp_path, b"", status=302) as port:
        findings = look({"base_url": f"http://127.0.0.1:{port}/v1"})
    assert found(findings, "address").status == "fails"
    assert findings.exit_code == 2


def test_a_list_without_an_end_is_cut_off(look, tmp_path):
    with serving(tmp_path, b" " * (9 * 1024 * 1024)) as port:
        findings = look({"base_url": f"http://127.0.0.1:{port}/v1"})
    assert found(findings, "address").status == "fails"


def test_a_suspended_account(look, provider):
    provider.suspend()
    try:
        findings = look()
    finally:
        provider.lift()
    assert "deactivated" in found(findings, "key").meaning
    assert findings.exit_code == 3


def test_a_maker_on_hold_is_refused_whatever_else_fails(look):
    Holds(Account.open(), our_entity()).place("own", "told to stop", "0" * 64)
    findings = look({"base_url": "http://nowhere.invalid/v1"})
    assert found(findings, "hold").status == "fails"
    assert findings.exit_code == 3


def test_another_name_for_a_maker_on_hold_is_told_by_its_address(look, provider):
    way = Way.to("deepseek/deepseek-chat@api", base_url=provider.openai, key=KEY)
    Holds(Account.open(), our_entity()).place("deepseek", "suspended", "0" * 64, way)
    assert "'deepseek' suspended" in found(look(), "hold").meaning


@pytest.mark.parametrize(("key", "status", "exit_code"), [(KEY, "warning", 0), ("another-key-0123456789", "fails", 6)])
def test_a_quota_that_was_met_may_be_tried_by_its_own_way_and_by_no_other(look, provider, key, status, exit_code):
    way = Way.to("own/served", base_url=provider.openai, key=key)
    with Account.open().turn() as driver:
        meet(driver, our_entity(), "own/served", way, Refusal("the quota of the account is used up", "429"), 1)
    findings = look()
    check = found(findings, "quota")
    assert (check.status, findings.exit_code) == (status, exit_code)
    assert "the quota of the account is used up" in check.meaning


@pytest.mark.parametrize("known_to", ["ledger", "state folder"])
def test_a_hold_that_the_account_lost_is_seen_where_the_run_would_find_it(look, tmp_path, known_to):
    workspace = Workspace.open(tmp_path / "work", create=True)
    lost = Holds(Account.open(f"sqlite:///{tmp_path / 'lost.db'}"), our_entity())
    if known_to == "ledger":
        hold(workspace.ledger, lost, maker="own", reason="told to stop", evidence="0" * 64)
        for kept in (state_folder() / "holds").glob("*.json"):
            kept.unlink()
    else:
        lost.place("own", "told to stop", "0" * 64)
    findings = look()
    assert "is on hold for 'us'" in found(findings, "hold").meaning
    assert findings.exit_code == 3


def test_a_source_that_was_recalled_in_this_workspace(look, tmp_path):
    ledger = Workspace.open(tmp_path / "work", create=True).ledger
    assert found(look(), "recall").status == "ok"
    ledger.append(WITHDRAWAL, [], {"source": "own/served", "reason": "told to stop", "at": now()})
    findings = look()
    assert "was recalled" in found(findings, "recall").meaning
    assert (found(findings, "recall", "base").status, findings.exit_code) == ("ok", 3)


def test_a_workspace_that_is_broken(look, tmp_path):
    ledger = Workspace.open(tmp_path / "work", create=True).ledger
    ledger.append(WITHDRAWAL, [], {"source": "own/other", "reason": "told to stop", "at": now()})
    (ledger.folder / "entries.jsonl").write_bytes(b"{}\n")
    findings = look()
    assert found(findings, "ledger", "workspace").status == "fails"
    assert findings.exit_code == 4


def test_terms_that_refuse_and_a_model_that_cannot_what_the_run_asks(look):
    findings = look({"source": "openai/gpt-5-mini@api", "model": "gpt-5-mini", "price": {"input": 1, "output": 1}})
    assert "openai-sa-2026-01-01" in found(findings, "terms for train").meaning
    assert "temperature" in found(findings, "capabilities for baseline").meaning
    assert found(findings, "region").status == "warning"
    assert findings.exit_code == 3


def test_declared_teachers_of_a_teacher_are_said_and_where_one_is_strict_refused(look, tmp_path):
    taught = (SHIPPED / "own/own-work.toml").read_text("utf-8")
    (tmp_path / "work" / "terms").mkdir(parents=True)
    (tmp_path / "work" / "terms" / "own.toml").write_text(
        f'{taught}\n[[upstream]]\nsource = "own/served"\nteacher = "GPT-4 of OpenAI"\n', "utf-8"
    )
    told = look()
    assert found(told, "upstream").status == "ok"
    assert "learned from GPT-4 of OpenAI" in found(told, "upstream").meaning
    assert "own-work: the operator's own reading" in found(told, "terms for train").meaning
    strict = look(operator={"strict_upstream": True})
    assert (found(strict, "upstream").exit_code, found(strict, "terms for train").exit_code) == (3, 3)


def test_a_price_that_is_not_known(look):
    remote = {"source": "deepseek/deepseek-chat@api"}
    assert "price: {input" in found(look(remote), "price").next


def test_a_contract_that_is_not_in_force(look):
    remote = {"source": "mistral/mistral-small@api", "price": {"input": 0, "output": 0}}
    assert found(look(remote, contract="mistral-api-2024-02-26"), "contract").exit_code == 3
    assert found(look(remote, contract="mistral-api-2099"), "contract").exit_code == 2


def test_what_is_left_of_an_allowance_and_until_when(look):
    limits = [{"source": "own/*", "per": "day", "requests": 500}, {"source": "own/*", "per": "total", "micros": 0}]
    findings = look(limits=limits)
    assert "500 of 500 requests left, renewed at" in found(findings, "allowance this day").meaning
    assert found(findings, "allowance in total").status == "fails"


def test_a_limit_of_the_account_binds_a_file_that_has_none(look):
    made = Shared(Account.open(), our_entity()).set(Limit(source="own/*", per="total", requests=0))
    told = found(look(), "account's allowance in total")
    assert (told.status, f"limit {made.id} of the account" in told.next) == ("fails", True)


def test_weights_that_are_not_there(look, tmp_path):
    findings = look(base={"weights": str(tmp_path / "nothing"), "source": "own/tiny"})
    assert found(findings, "weights", "base").exit_code == 2


def test_weights_that_are_not_those_that_were_pinned(look, tiny_llama):
    findings = look(base={"weights": str(tiny_llama), "source": "own/tiny", "sha256": "0" * 64})
    assert found(findings, "weights", "base").exit_code == 4
    assert findings.exit_code == 4


def test_the_command_prints_a_row_a_check_and_exits_with_the_worst(tmp_path, tiny_llama, provider, monkeypatch):
    monkeypatch.setenv("DOCTOR_KEY", KEY)
    remote = {"source": "own/served", "model": "huge", "base_url": provider.openai, "key_from": "DOCTOR_KEY"}
    file = run_file(tmp_path, tiny_llama, teacher={"remote": remote})
    done = CliRunner().invoke(app, ["doctor", str(file), "-w", str(tmp_path / "work")])
    assert done.exit_code == 2
    assert "not checked" in done.stdout
    assert KEY not in done.stdout
    said = json.loads(CliRunner().invoke(app, ["doctor", str(file), "--json"]).stdout)
    assert said["exit_code"] == 2
    assert not (tmp_path / "work").exists()  # it writes nothing


@contextmanager
def serving(folder: Path, body: bytes, *, status: int = 200, certificate: bool = False) -> Iterator[int]:
    """A server on loopback that says the same to everybody; with a certificate that nobody trusts if so told."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Location", "http://127.0.0.1:9/elsewhere")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with suppress(OSError):  # the client has seen enough
                self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    class Quiet(HTTPServer):
        def handle_error(self, *_: Any) -> None:
            pass  # a client that does not trust us says so in the handshake

    server = Quiet(("127.0.0.1", 0), Handler)
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(_self_signed(folder))
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _self_signed(folder: Path) -> Path:
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "us")])
    today = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(today - timedelta(days=1))
        .not_valid_after(today + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    plain = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = folder / "self-signed.pem"
    path.write_bytes(plain + made.public_bytes(serialization.Encoding.PEM))
    return path
