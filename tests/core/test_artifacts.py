"""An artifact is its bytes: whatever changes, is found and named."""

import random
import shutil

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trueseed.core.artifacts import Artifact, Store, check
from trueseed.core.canonical import digest
from trueseed.errors import Broken, ConfigError

FILES = {"a.txt": b"alpha", "deep/b.bin": bytes(range(256)), "empty": b""}


def put(store: Store, files: dict[str, bytes] | None = None, **meta: object) -> Artifact:
    with store.staged("dataset") as folder:
        for name, data in (FILES if files is None else files).items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
        return store.put("dataset", folder, meta)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def test_an_artifact_is_read_back_as_it_was_put(store):
    made = put(store, note="first")
    assert store.get(f"dataset:{made.digest}") == made
    assert made.path("deep/b.bin").read_bytes() == bytes(range(256))
    assert list(store.all()) == [made]
    check(made)


def test_the_digest_covers_kind_names_bytes_and_meta(store):
    digests = {
        put(store).digest,
        put(store, note="other").digest,
        put(store, FILES | {"a.txt": b"Alpha"}).digest,
        put(store, {"A.txt" if name == "a.txt" else name: data for name, data in FILES.items()}).digest,
    }
    assert len(digests) == 4


def test_the_same_bytes_put_twice_are_one_artifact(store):
    assert put(store) == put(store)
    assert len(list(store.all())) == 1


def test_nothing_staged_is_left_behind(store):
    put(store)
    with pytest.raises(RuntimeError), store.staged("dataset"):
        raise RuntimeError
    assert [path.name for path in (store.folder / "dataset").iterdir()] == [put(store).digest]


def test_a_file_named_like_the_manifest_is_not_overwritten_silently(store):
    with pytest.raises(ValueError, match="would be overwritten"):
        put(store, {"manifest.json": b"mine"})


@pytest.mark.parametrize("reference", ["dataset:{0}", "{0}", "dataset:{0:.6}", "{0:.6}"])
def test_a_beginning_of_six_characters_finds_it(store, reference):
    made = put(store)
    assert store.get(reference.format(made.digest)) == made


@pytest.mark.parametrize("reference", ["{0:.5}", "weights:{0}", "??????", "*", "", "/etc/passwd", "../../x", "0" * 64])
def test_what_names_no_artifact_is_a_config_error(store, reference):
    made = put(store)
    with pytest.raises(ConfigError, match="names"):
        store.get(reference.format(made.digest))


def test_an_adopted_artifact_moves_between_stores(store, tmp_path):
    made = put(Store(tmp_path / "staging"))
    assert store.adopt(made, Store(tmp_path / "staging"))
    check(store.get(made.digest))
    again = put(Store(tmp_path / "staging"))
    assert not store.adopt(again, Store(tmp_path / "staging"))


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (lambda folder: (folder / "a.txt").write_bytes(b"alphA"), "'a.txt' was changed"),
        (lambda folder: (folder / "a.txt").unlink(), "'a.txt' is missing"),
        (lambda folder: (folder / "deep" / "more").write_bytes(b""), "'deep/more' is extra"),
        (lambda folder: (folder / "manifest.json").write_bytes(b"{}"), "manifest"),
        (lambda folder: (folder / "manifest.json").unlink(), "manifest"),
        (lambda folder: (folder / "manifest.json").write_bytes(b"\xff"), "manifest"),
    ],
)
def test_damage_is_found_and_named(store, damage, named):
    made = put(store)
    damage(made.folder)
    with pytest.raises(Broken, match=named):
        check(made)


def test_an_artifact_moved_to_another_kind_is_found(store):
    made = put(store)
    moved = store.folder / "weights" / made.digest
    shutil.copytree(made.folder, moved)
    with pytest.raises(Broken, match="made as dataset"):
        check(Artifact("weights", made.digest, moved, {}))


def test_a_manifest_that_cannot_be_read_is_broken_not_a_crash(store):
    made = put(store)
    made.path("manifest.json").write_text("[]")
    with pytest.raises(Broken, match="cannot be read"):
        store.get(made.digest)


def test_an_unknown_kind_is_broken(store):
    made = put(store)
    made.path("manifest.json").write_text('{"kind":"spell","files":[],"meta":{}}')
    with pytest.raises(Broken, match="unknown kind 'spell'"):
        store.get(made.digest)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=25)
@given(files=st.dictionaries(st.text("abc", min_size=1, max_size=6), st.binary(max_size=40), max_size=4))
def test_whatever_is_put_checks_and_is_named_by_its_manifest(tmp_path, files):
    made = put(Store(tmp_path / digest({name: data.hex() for name, data in files.items()})), files)
    check(made)
    for name, data in files.items():
        assert made.path(name).read_bytes() == data


def test_every_flipped_bit_is_found(store):
    made, dice = put(store, note="bits"), random.Random(1)
    files = [path for path in sorted(made.folder.rglob("*")) if path.is_file() and path.stat().st_size]
    for _ in range(200):
        path = dice.choice(files)
        whole = path.read_bytes()
        place = dice.randrange(len(whole) * 8)
        flipped = bytearray(whole)
        flipped[place // 8] ^= 1 << place % 8
        path.write_bytes(flipped)
        with pytest.raises(Broken):
            check(made)
        path.write_bytes(whole)
    check(made)
