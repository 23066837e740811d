"""Keys are kept safe, and notes are the C2SP format."""

import multiprocessing
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import trueseed
from trueseed.errors import Broken, ConfigError
from trueseed.ledger.signing import Key, Signer, decode, encode, load, load_or_create, open_note, sign_note, weights_key

# The example of Go's golang.org/x/mod/sumdb/note, where the format comes from.
NEUMANN = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
NOTE = """If you think cryptography is the answer to your problem,
then you don't know what your problem is.

— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=
"""
SIGNER = Signer.from_seed("operator", bytes(range(32)))
ORIGIN = "trueseed/0123456789abcdef"


def test_a_note_that_go_signed_is_opened():
    assert open_note(NOTE, Key.parse(NEUMANN)) == NOTE.partition("\n\n")[0] + "\n"


def test_a_seed_makes_the_key_of_rfc_8032():
    seed = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    signer = Signer.from_seed("operator", seed)
    assert signer.public_key.hex() == "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    assert signer.sign(b"").hex().startswith("e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155")


def test_a_verifier_key_is_read_back_as_it_was():
    for key in (SIGNER.key(ORIGIN), Signer.from_seed("reviewer", bytes(32)).key(ORIGIN)):
        assert Key.parse(str(key)) == key
    assert str(Key.parse(NEUMANN)) == NEUMANN


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name",
        NEUMANN[:-1],
        NEUMANN.replace("c74f", "C74F"),
        NEUMANN.replace("Peter", "peter"),
        NEUMANN.replace("+AR", "+Ar"),
        "a b" + NEUMANN[12:],
    ],
)
def test_a_damaged_verifier_key_is_a_config_error(text):
    with pytest.raises(ConfigError, match="not a verifier key"):
        Key.parse(text)


def test_a_key_is_made_once_and_only_for_its_user(tmp_path):
    made = load_or_create("operator", tmp_path / "keys")
    assert load_or_create("operator", tmp_path / "keys").public_key == made.public_key
    assert (tmp_path / "keys" / "operator.pem").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o700
    assert [path.name for path in (tmp_path / "keys").iterdir()] == ["operator.pem"]


def test_the_two_roles_have_two_keys(tmp_path):
    assert load_or_create("operator", tmp_path).key_id != load_or_create("reviewer", tmp_path).key_id


def test_a_missing_key_is_none(tmp_path):
    assert load("operator", tmp_path) is None


def _key_id(folder):
    return load_or_create("operator", folder).key_id


def test_processes_that_come_at_once_get_one_key(tmp_path):
    with multiprocessing.get_context("forkserver").Pool(4) as pool:
        assert len(set(pool.map(_key_id, [tmp_path / "keys"] * 8))) == 1


def test_a_key_that_others_can_read_is_refused(tmp_path):
    load_or_create("operator", tmp_path)
    (tmp_path / "operator.pem").chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        load("operator", tmp_path)


def test_a_damaged_key_file_is_a_config_error(tmp_path):
    load_or_create("operator", tmp_path)
    (tmp_path / "operator.pem").write_text("not a key")
    with pytest.raises(ConfigError, match="not an unencrypted PEM key"):
        load("operator", tmp_path)


def test_a_key_folder_that_is_no_folder_is_a_config_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="Not a directory"):
        load_or_create("operator", tmp_path / "file" / "keys")


def test_a_signer_does_not_show_its_private_half():
    assert re.fullmatch(r"Signer\(operator, [0-9a-f]{12}\)", repr(SIGNER))


@given(st.text(st.characters(min_codepoint=0x20, exclude_categories=["Cs", "Cc"])))
def test_what_is_signed_is_opened(text):
    note = sign_note(text + "\n", SIGNER, ORIGIN)
    assert open_note(note, SIGNER.key(ORIGIN)) == text + "\n"


def test_signatures_of_strangers_are_passed_over():
    stranger = sign_note("text\n", Signer.from_seed("operator", bytes(32)), "witness.example").splitlines()[-1]
    note = sign_note("text\n", SIGNER, ORIGIN) + stranger + "\n"
    assert open_note(note, SIGNER.key(ORIGIN)) == "text\n"


def test_a_note_by_strangers_only_is_broken():
    note = sign_note("text\n", Signer.from_seed("operator", bytes(32)), "witness.example")
    with pytest.raises(Broken, match="no signature by"):
        open_note(note, SIGNER.key(ORIGIN))


def test_a_key_of_the_same_name_is_another_key():
    note = sign_note("text\n", Signer.from_seed("operator", bytes(32)), ORIGIN)
    with pytest.raises(Broken, match="no signature by"):
        open_note(note, SIGNER.key(ORIGIN))


@pytest.mark.parametrize(
    "note", ["", "text", "text\n", "text\n\n", "text\n\n— \n", "text\n\n— a b\n", "te\x00xt\n\n— a b==\n"]
)
def test_what_is_no_note_is_broken(note):
    with pytest.raises(Broken):
        open_note(note, SIGNER.key(ORIGIN))


def test_every_bit_of_a_note_counts():
    note = sign_note(f"{ORIGIN}\n12\n", SIGNER, ORIGIN).encode()
    for place in range(len(note) * 8):
        flipped = bytearray(note)
        flipped[place // 8] ^= 1 << place % 8
        with pytest.raises(Broken):
            open_note(flipped.decode(errors="replace"), SIGNER.key(ORIGIN))


@given(st.binary(max_size=80))
def test_base64_is_read_back(data):
    assert decode(encode(data)) == data


@pytest.mark.parametrize("text", ["AB==", "AA=", "A", "A-__", "AA==\n", " AA=="])
def test_base64_has_one_spelling(text):
    with pytest.raises(ValueError):
        decode(text)


def test_cryptography_has_one_home():
    package = Path(trueseed.__file__).parent
    imports = [
        path for path in package.rglob("*.py") if re.search(r"^\s*(from|import) cryptography", path.read_text(), re.M)
    ]
    assert sorted(imports) == [package / "ledger" / "signing.py", package / "ledger" / "timestamp.py"]


def test_the_key_that_signs_weights_is_made_once_and_read_by_its_owner_alone(tmp_path):
    path, public = weights_key(tmp_path / "keys")
    assert weights_key(tmp_path / "keys") == (path, public)
    assert public.startswith(b"-----BEGIN PUBLIC KEY-----")
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        weights_key(tmp_path / "keys")


def test_another_kind_of_key_does_not_sign_weights(tmp_path):
    load_or_create("operator", tmp_path)
    (tmp_path / "operator.pem").rename(tmp_path / "weights.pem")
    with pytest.raises(ConfigError, match="not a P-256 key"):
        weights_key(tmp_path)
