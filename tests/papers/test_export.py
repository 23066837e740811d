"""Handing a student out: what goes along, what is refused, and what the ledger says afterwards."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
from huggingface_hub import ModelCard
from tests.papers.grown import OWN, place, student

from trueseed.errors import ConfigError, Refused
from trueseed.ledger.verify import verify_ledger
from trueseed.papers.export import CARD, Wanted, export, papers_of
from trueseed.recall import recall
from trueseed.terms.model import Facts, Student
from trueseed.workspace import Workspace

SMOL = "huggingfacetb/smollm2-135m-instruct@weights"
GEMMA = "google/gemma-3-270m@weights"
LLAMA = "meta/llama-3.1-8b@weights"
TERMS = b"<html>what was read</html>"


@pytest.fixture
def with_terms(tmp_path: Path) -> Callable[[str], None]:
    """Puts a document into the workspace's terms folder that demands its text to be passed on, and a notice."""

    def write(sha256: str) -> None:
        (tmp_path / "work" / "terms").mkdir(parents=True)
        (tmp_path / "work" / "terms" / "acme.toml").write_text(f'''
id = "acme-1"
provider = "Acme"
document = "Acme Terms"
version = "1"
route = "weights"
sources = ["acme/*@weights"]
effective_from = 2020-01-01
observed_at = 2020-01-01
text_sha256 = "{sha256}"
where_read = "acme.example"
verification = "primary"
on_termination = "nothing"
reaches_models_trained_on_output = "yes"

[[permissions]]
uses = ["train", "reward", "publish", "serve"]
relations = ["output", "filter", "score", "weights"]
verdict = "permit"
because = "it says so"

[[duties]]
kind = "pass-on-restrictions"
text = "no weapons"
uses = ["publish"]
distributed = true

[[duties]]
kind = "notice-file"
value = "Grown from Acme."
text = "a file named Notice"
uses = ["publish"]
distributed = true
''')

    return write


def test_transformers_loads_what_is_handed_out_and_the_ledger_names_every_file(tmp_path, tiny_llama):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    workspace = place(tmp_path)
    student(workspace, tiny_llama)
    handed = export(workspace, Wanted(folder=tmp_path / "out", formats=("hf", "gguf-q8_0"), records=True))
    AutoModelForCausalLM.from_pretrained(tmp_path / "out", local_files_only=True)
    assert AutoTokenizer.from_pretrained(tmp_path / "out", local_files_only=True).chat_template
    last = list(workspace.ledger.entries())[-1]
    there = {p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*") if p.is_file()}
    assert (last.predicate["event"], set(last.predicate["handed_out"])) == ("done", there)
    assert "sprout-q8_0.gguf" in there
    said = {each["name"]: each["digest"]["sha256"] for each in last.statement["subject"]}
    readme = hashlib.sha256((tmp_path / "out" / "README.md").read_bytes()).hexdigest()
    assert said["README.md"] == handed.files["README.md"] == readme
    assert not verify_ledger(workspace.ledger.folder, state=workspace.ledger._state).findings


def test_the_card_has_front_matter_that_the_hub_reads_and_says_what_is_not_claimed(tmp_path, tiny_llama):
    workspace = place(tmp_path)
    made = student(workspace, tiny_llama, SMOL, base=SMOL)
    card = ModelCard(papers_of(workspace)[CARD])
    assert card.data.base_model == ["huggingfacetb/smollm2-135m-instruct"]
    assert {each["source"] for each in card.data.to_dict()["teachers"]} == {SMOL, OWN}
    assert card.data.to_dict()["identity_filter"] is True
    assert made.digest in card.text and "UltraFeedback" in card.text and "What cannot be claimed" in card.text


def test_an_exception_for_models_that_stay_inside_ends_when_they_are_handed_out(tmp_path, tiny_llama):
    workspace = Workspace.open(tmp_path / "work", create=True)
    inside = Student(name="sorter", kind="classifier", distributed=False)
    workspace.declare("garden", Facts(student=inside, region="US"))
    student(workspace, tiny_llama, "openai/gpt-4@api")
    with pytest.raises(Refused, match="openai"):
        export(workspace, Wanted(folder=tmp_path / "out", signed=False))
    assert not list(tmp_path.glob("*out*"))
    assert list(workspace.ledger.entries())[-1].predicate["event"] == "refused"


def test_a_recalled_student_is_not_handed_out(tmp_path, tiny_llama):
    workspace = place(tmp_path)
    student(workspace, tiny_llama, SMOL)
    recall(workspace, SMOL, "withdrawn")
    with pytest.raises(Refused, match="recalled"):
        export(workspace, Wanted(folder=tmp_path / "out", signed=False))
    assert not (tmp_path / "out").exists()


def test_the_name_must_begin_as_the_terms_say(tmp_path, tiny_llama):
    workspace = place(tmp_path, name="Llama-sprout")
    student(workspace, tiny_llama, LLAMA)
    with pytest.raises(Refused, match="begins with 'Llama'"):
        export(workspace, Wanted(folder=tmp_path / "out", signed=False, name="sprout"))
    assert workspace.facts.student.name == "Llama-sprout"  # nothing went out under the other
    export(workspace, Wanted(folder=tmp_path / "out", signed=False, name="Llama-sprout"))
    assert "**Built with Llama**" in (tmp_path / "out" / "README.md").read_text()


def test_a_text_that_must_go_along_is_asked_for_and_never_made_up(tmp_path, tiny_llama, with_terms):
    with_terms(hashlib.sha256(TERMS).hexdigest())
    workspace = place(tmp_path)
    student(workspace, tiny_llama, "acme/large@weights")
    with pytest.raises(Refused, match=f"--text FILE: its SHA-256 must be {hashlib.sha256(TERMS).hexdigest()}"):
        export(workspace, Wanted(folder=tmp_path / "out", signed=False))
    (tmp_path / "wrong.html").write_bytes(b"something else")
    with pytest.raises(Refused, match="not at hand"):
        export(workspace, Wanted(folder=tmp_path / "out", signed=False, texts=(tmp_path / "wrong.html",)))
    (tmp_path / "saved.html").write_bytes(TERMS)
    export(workspace, Wanted(folder=tmp_path / "out", signed=False, texts=(tmp_path / "saved.html",)))
    assert (tmp_path / "out" / "terms" / "acme-1.html").read_bytes() == TERMS
    assert (tmp_path / "out" / "Notice").read_text() == "Grown from Acme.\n"
    assert "no weapons" in (tmp_path / "out" / "TERMS.md").read_text()


def test_a_text_of_which_no_digest_is_known_cannot_be_passed_on(tmp_path, tiny_llama, with_terms):
    with_terms("unknown")
    workspace = place(tmp_path)
    student(workspace, tiny_llama, "acme/large@weights")
    with pytest.raises(Refused, match="digest of its text is not known"):
        export(workspace, Wanted(folder=tmp_path / "out", signed=False))


def test_changed_weights_say_so_in_their_own_metadata(tmp_path, tiny_llama):
    from safetensors import safe_open

    workspace = place(tmp_path)
    student(workspace, tiny_llama)
    export(workspace, Wanted(folder=tmp_path / "out", signed=False))
    with safe_open(tmp_path / "out" / "model.safetensors", framework="pt") as file:
        assert "changed by training in the project 'garden'" in file.metadata()["modified"]


def test_a_folder_that_is_there_is_left_alone(tmp_path, tiny_llama):
    workspace = place(tmp_path)
    student(workspace, tiny_llama)
    (tmp_path / "out").mkdir()
    with pytest.raises(ConfigError, match="exists"):
        export(workspace, Wanted(folder=tmp_path / "out", signed=False))


@pytest.mark.weights
def test_gemmas_own_terms_go_along_from_where_they_were_read(tmp_path, tiny_llama, gemma):
    licence = (gemma.folder / "GEMMA_TERMS.html").read_bytes()
    workspace = place(tmp_path)
    student(workspace, tiny_llama, base=GEMMA, licence=licence)
    export(workspace, Wanted(folder=tmp_path / "out", signed=False))
    assert (tmp_path / "out" / "terms" / "gemma-terms-2025-03-24.html").read_bytes() == licence
    assert "Gemma is provided under and subject to" in (tmp_path / "out" / "Notice").read_text()
