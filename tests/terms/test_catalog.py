import json
import re
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trueseed.core.canonical import digest
from trueseed.errors import Broken, ConfigError
from trueseed.terms import Catalog
from trueseed.terms.catalog import SHIPPED, from_json, keep
from trueseed.terms.files import parse

CATALOG = Catalog.load()
OWN = (SHIPPED / "own/own-work.toml").read_text("utf-8")
SOURCES = [
    "anthropic/claude@api",
    "deepseek/deepseek-chat@api",
    "google/gemma-3-270m@weights",
    "huggingfacetb/smollm2-135m-instruct@weights",
    "meta/llama-3.1-8b-instruct@weights",
    "mistral/mistral-large@api",
    "openai/gpt-4@api",
    "openai/gpt-4@azure",
    "own/anna",
    "qwen/qwen-7b-chat@weights",
    "qwen/qwen2.5-72b-instruct@weights",
]


def governed_by(source: str, day: str) -> str | None:
    document = CATALOG.governing(source, date.fromisoformat(day))
    return document.id if document else None


@pytest.mark.parametrize(
    ("source", "day", "document"),
    [
        ("openai/gpt-4@api", "2023-03-13", None),
        ("openai/gpt-4@api", "2023-05-01", "openai-tou-2023-03-14"),
        ("openai/gpt-4@api", "2023-10-01", "openai-business-2023-08-28"),
        ("openai/gpt-4@api", "2023-12-15", "openai-business-2023-11-14"),
        ("openai/gpt-4@api", "2026-11-21", "openai-sa-2026-01-01"),
        ("openai/gpt-4@azure", "2023-05-01", "azure-openai-product-terms"),
        ("openai/gpt-4@azure", "2026-11-21", "azure-openai-product-terms"),
        ("mistral/mistral-large@api", "2024-02-08", "mistral-api-2024-02-08"),
        ("mistral/mistral-large@api", "2024-02-25", "mistral-api-2024-02-08"),
        ("mistral/mistral-large@api", "2024-02-26", "mistral-api-2024-02-26"),
        ("mistral/mistral-large@api", "2024-02-27", "mistral-terms-2024-02-27"),
        ("mistral/mistral-large@api", "2026-11-21", "mistral-commercial-2026-05-28"),
        ("deepseek/deepseek-chat@api", "2025-06-01", "deepseek-platform-2025-01-20"),
        ("deepseek/deepseek-chat@api", "2026-11-21", "deepseek-platform-2026-04-29"),
        ("meta/llama-3.1-8b-instruct@weights", "2026-11-21", "llama3.1-community"),
        ("meta/llama-3.3-70b-instruct@weights", "2026-11-21", "llama3.3-community"),
        ("google/gemma-3-270m@weights", "2026-11-21", "gemma-terms-2025-03-24"),
        ("google/gemma-4-1b@weights", "2026-11-21", None),
        ("huggingfacetb/smollm2-135m-instruct@weights", "2026-11-21", "apache-2.0-weights"),
        ("qwen/qwen-7b-chat@weights", "2026-11-21", "qwen-tongyi-2023-08-03"),
        ("qwen/qwen2.5-72b-instruct@weights", "2026-11-21", "qwen-2024-09-19"),
        ("qwen/qwen2.5-7b-instruct@weights", "2026-11-21", None),
        ("anthropic/claude@api", "2026-11-21", "anthropic-commercial-2025-06-17"),
        ("own/anna", "2026-11-21", "own-work"),
        ("nobody/knows@api", "2026-11-21", None),
        ("meta-llama/llama-3-8b@weights", "2026-11-21", None),
        ("meta-llama/meta-llama-3-8b@weights", "2026-11-21", "llama3-community"),
        ("meta-llama/llama-3.2-1b@weights", "2026-11-21", "llama3.2-community"),
        ("meta-llama/llama-3.2-11b-vision@weights", "2026-11-21", "llama3.2-community-multimodal"),
        ("xai/grok@api", "2026-08-13", "xai-enterprise-2025-06-27"),
        ("xai/grok@api", "2026-08-14", "xai-enterprise-2026-08-14"),
        ("google/gemini-2.5-pro@api", "2026-11-21", "gemini-api-2025-11-20"),
        ("google/gemini-2.5-pro@api+search", "2026-11-21", None),
        ("google/gemini-2.5-pro@app", "2026-11-21", "google-tos-2024-05-22"),
        ("qwen/qwen3-8b@openrouter", "2026-11-21", "openrouter-2025-04-15"),
    ],
)
def test_the_version_in_force_on_the_day_governs(source, day, document):
    assert governed_by(source, day) == document


@given(st.sampled_from(SOURCES), st.dates(date(2022, 1, 1), date(2028, 1, 1)))
def test_at_most_one_document_governs_a_source_on_any_day(source, day):
    document = CATALOG.governing(source, day)
    assert document is None or document.in_force(day)


def test_history_is_in_the_order_of_time():
    starts = [document.effective_from for document in CATALOG.history("openai/gpt-4@api")]
    assert starts == sorted(starts)
    assert len(starts) == 4


def test_every_shipped_document_says_what_it_must():
    for document in CATALOG.documents:
        assert document.reading == "shipped"
        assert document.where_read
        assert document.on_termination
        assert document.reaches_models_trained_on_output
        assert document.was_read or document.reported
        assert all(permission.because for permission in document.permissions)


def test_the_file_is_named_for_the_document():
    assert {path.stem for path in SHIPPED.rglob("*.toml")} == {document.id for document in CATALOG.documents}


def test_an_unknown_id_is_told_its_nearest():
    with pytest.raises(ConfigError, match="openai-sa-2026-01-01"):
        CATALOG.document("openai-sa-2026")


def test_a_document_is_found_by_its_digest():
    document = CATALOG.document("gemma-terms-2025-03-24")
    assert CATALOG.by_digest(document.digest) == document
    assert CATALOG.by_digest("0" * 64) is None


def test_every_digest_is_different():
    assert len({document.digest for document in CATALOG.documents}) == len(CATALOG.documents)


@given(st.randoms())
def test_the_digest_does_not_depend_on_the_order_of_keys(random):
    content = CATALOG.document("mistral-api-2024-02-08").to_json()
    keys = list(content)
    random.shuffle(keys)
    shuffled = {key: content[key] for key in keys}
    assert from_json(shuffled).digest == digest(content) == CATALOG.document("mistral-api-2024-02-08").digest


def test_the_digest_does_not_depend_on_the_order_of_keys_in_the_file():
    head, body = OWN.split("[[permissions]]")
    reordered = "\n".join(reversed(head.strip().splitlines())) + "\n[[permissions]]" + body
    assert parse(reordered, "a").digest == parse(OWN, "b").digest


def test_the_digest_covers_what_is_incorporated():
    document = CATALOG.document("mistral-api-2024-02-08")
    (companion,) = document.companions
    changed = from_json(document.to_json() | {"companions": [companion.to_json() | {"version": "2"}]})
    assert changed.digest != document.digest


def test_a_document_survives_json():
    for document in CATALOG.documents:
        assert from_json(json.loads(json.dumps(document.to_json()))) == document


def test_the_embedded_teacher_declares_what_it_learned_from():
    first, second = CATALOG.upstream("huggingfacetb/smollm2-135m-instruct@weights")
    assert "smol-smoltalk" in first
    assert "UltraFeedback" in second
    assert CATALOG.upstream("google/gemma-3-270m@weights") == ()


def test_sources_lists_the_patterns():
    assert {"openai/*@azure", "own/*"} <= set(CATALOG.sources())


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (OWN.replace("provider =", "providr ="), "unknown key 'providr'; nearest valid key: 'provider'"),
        (OWN.replace("clause =", "claus ="), "unknown key 'permissions.0.claus'; nearest valid key: 'clause'"),
        (OWN.replace('"permit"', '"perhaps"'), "permissions.0.verdict"),
        (OWN.replace('"train",', '"trian",'), "permissions.0.uses.0"),
        (OWN.replace('"permit"', '"conditional"'), "needs a condition"),
        (OWN.replace('text_sha256 = "unknown"', 'text_sha256 = "abc"'), "text_sha256"),
        (OWN.replace('route = "own"\n', ""), "route: Field required"),
        (OWN + "[", "not valid TOML"),
        ('reading = "shipped"\n' + OWN, "unknown key 'reading'"),
        ("companions = []\n" + OWN, "unknown key 'companions'"),
        (OWN + OWN[OWN.index("[[permissions]]") :], "train (output) is given two permissions"),
    ],
)
def test_a_malformed_document_names_its_file_and_key(broken, message):
    with pytest.raises(ConfigError) as caught:
        parse(broken, "terms/mine.toml")
    assert "terms/mine.toml" in str(caught.value)
    assert message in str(caught.value)


def add(folder: Path, text: str, name: str = "mine.toml") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text, "utf-8")
    return folder


def test_a_workspace_adds_its_own_documents(tmp_path):
    text = OWN.replace('"own-work"', '"maker-letter"').replace('"own/*"', '"maker/*@api"')
    document = Catalog.load(add(tmp_path, text)).governing("maker/large@api", date(2026, 1, 1))
    assert document is not None
    assert (document.id, document.reading) == ("maker-letter", "contract")


def test_an_operators_reading_takes_the_place_of_a_shipped_one(tmp_path):
    mine = Catalog.load(add(tmp_path, OWN.replace('version = "1"', 'version = "2"'))).document("own-work")
    assert (mine.version, mine.reading) == ("2", "operator")
    assert mine.digest != CATALOG.document("own-work").digest


def test_the_same_words_read_by_an_operator_have_another_digest(tmp_path):
    assert Catalog.load(add(tmp_path, OWN)).document("own-work").digest != CATALOG.document("own-work").digest


@pytest.mark.parametrize(
    "slips",
    [
        ("acme/large@api", "acme/none@api"),
        ("effective_from = 2023-01-01", "effective_from = 2099-01-01"),
        ('version = "1"', 'version = "1"\nfeatures = ["nothing"]'),
    ],
)
def test_an_override_that_is_about_nothing_leaves_the_shipped_text_in_force(tmp_path, monkeypatch, slips):
    text = OWN.replace('"own-work"', '"strict"').replace('"own/*"', '"acme/large@api"').replace("permit", "refuse")
    text = re.sub("effective_from = .*", "effective_from = 2023-01-01", text)
    wide = OWN.replace('"own-work"', '"wide"').replace('"own/*"', '"acme/*@api"')
    shipped = {"strict": replace(parse(text, "strict"), binds_earlier=True), "wide": parse(wide, "wide")}
    monkeypatch.setattr("trueseed.terms.catalog._shipped", lambda: shipped)
    catalog = Catalog.load(add(tmp_path, text.replace(*slips)))
    found = catalog.governing("acme/large@api", date(2026, 1, 1))
    assert found is not None
    assert (found.id, found.reading) == ("strict", "shipped")


def test_an_override_does_not_say_away_that_a_text_reaches_back(tmp_path, monkeypatch):
    text = OWN.replace('"own-work"', '"strict"').replace('"own/*"', '"acme/*@api"')
    shipped = replace(parse(text, "strict"), binds_earlier=True, effective_from=date(2025, 1, 1))
    monkeypatch.setattr("trueseed.terms.catalog._shipped", lambda: {"strict": shipped})
    theirs = re.sub("effective_from = .*", "effective_from = 2025-01-01", text)
    before = replace(shipped, id="before", effective_from=date(2024, 1, 1))
    (later,) = Catalog.load(add(tmp_path, theirs)).later_for("acme/large@api", before, None)
    assert later.reading == "operator"


def test_a_pattern_that_names_more_governs_before_one_that_names_less(tmp_path):
    text = OWN.replace('"own-work"', '"letter"')
    add(tmp_path, text.replace('"own/*"', '"maker/*@api"').replace('"letter"', '"wide"'), "wide.toml")
    add(tmp_path, text.replace('"own/*"', '"maker/large@api"').replace('"letter"', '"narrow"'), "narrow.toml")
    document = Catalog.load(tmp_path).governing("maker/large@api", date(2026, 1, 1))
    assert document is not None
    assert document.id == "narrow"


def test_two_documents_that_govern_equally_are_an_error(tmp_path):
    for name in ("one", "two"):
        text = OWN.replace('"own-work"', f'"{name}"').replace('"own/*"', '"maker/*@api"')
        add(tmp_path, text, f"{name}.toml")
    with pytest.raises(ConfigError, match=r"one, two|two, one"):
        Catalog.load(tmp_path).governing("maker/large@api", date(2026, 1, 1))


def test_two_files_with_one_id_are_an_error(tmp_path):
    add(tmp_path, OWN, "a.toml")
    with pytest.raises(ConfigError, match=r"b\.toml.*own-work"):
        Catalog.load(add(tmp_path, OWN, "b.toml"))


def test_incorporating_what_is_not_there_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match="nowhere"):
        Catalog.load(add(tmp_path, 'incorporates = ["nowhere"]\n' + OWN))


def test_an_absent_folder_adds_nothing(tmp_path):
    assert Catalog.load(tmp_path / "terms", tmp_path / "kept").documents == CATALOG.documents


def test_a_kept_document_is_found_by_digest_after_the_catalogue_changed(tmp_path):
    mine = Catalog.load(add(tmp_path / "terms", OWN.replace('version = "1"', 'version = "2"'))).document("own-work")
    keep(mine, tmp_path / "kept")
    later = Catalog.load(kept=tmp_path / "kept")
    assert later.by_digest(mine.digest) == mine
    assert later.document("own-work") == CATALOG.document("own-work")


def test_a_kept_document_that_was_changed_is_broken(tmp_path):
    path = keep(CATALOG.document("openai-sa-2026-01-01"), tmp_path)
    path.write_text(path.read_text("utf-8").replace('"refuse"', '"permit"'), "utf-8")
    with pytest.raises(Broken, match=r"was changed"):
        Catalog.load(kept=tmp_path)


def test_a_version_ends_the_day_the_next_begins():
    old, new = CATALOG.document("mistral-api-2024-02-26"), CATALOG.document("mistral-terms-2024-02-27")
    assert isinstance(new.effective_from, date)
    assert not old.in_force(new.effective_from)
    assert old.in_force(new.effective_from - timedelta(days=1))
