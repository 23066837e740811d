"""Witnesses and time-stamping authorities vouch for a log, and only those who are trusted count."""

import shutil

import pytest
from tests.ledger.authority import Authority

from trueseed.errors import Broken, ConfigError
from trueseed.ledger.cosignature import cosign, cosigned
from trueseed.ledger.log import Ledger
from trueseed.ledger.signing import Key, Signer
from trueseed.ledger.trust import remember_witness
from trueseed.ledger.verify import verify_ledger
from trueseed.ledger.vouching import ask_authority, ask_witness, take_cosignature, take_stamp
from trueseed.ledger.witness import Witness, own, request

NAME = "witness.example/w1"


@pytest.fixture
def witness(tmp_path):
    return Witness(name=NAME, signer=Signer.from_seed("witness", bytes(range(32))), folder=tmp_path / "witness")


@pytest.fixture(scope="module")
def authority():
    return Authority()


def grow(ledger):
    ledger.append("https://trueseed.dev/withdrawal/v1", [], {"source": "x/y@api", "reason": "", "at": "2026-03-01"})


def texts(found):
    return "\n".join(found)


# -- the bytes


def test_a_cosignature_is_what_the_specification_says(river, operator):
    """Put together here by hand, and checked with the bare key."""
    import base64
    import hashlib
    import struct

    signer = Signer.from_seed("witness", bytes(range(32)))
    note = river.checkpoint()
    mark, name, data = cosign(note, signer, NAME, 1679315147).rstrip("\n").split(" ")
    raw = base64.b64decode(data)
    body = note[: note.index("\n\n") + 1]
    message = f"cosignature/v1\ntime 1679315147\n{body}".encode()
    assert (mark, name) == ("—", NAME)
    assert raw[:4] == hashlib.sha256(NAME.encode() + b"\n\x04" + signer.public_key).digest()[:4]
    assert struct.unpack(">Q", raw[4:12]) == (1679315147,)
    assert signer.key(NAME).verifies(raw[12:], message)


def test_a_witness_key_reads_back_as_one_and_signs_no_statements(witness):
    assert Key.parse(str(witness.key)) == witness.key
    assert witness.key.role == "witness"
    with pytest.raises(ConfigError):
        Key.parse(str(witness.key).replace("+B", "+A"))


def test_a_flipped_bit_in_a_cosignature_is_found(river, witness):
    line = cosign(river.checkpoint(), witness.signer, NAME, 5)
    place = line.index(" ", 2) + 40
    forged = line[:place] + ("A" if line[place] != "A" else "B") + line[place + 1 :]
    with pytest.raises(Broken, match="does not match"):
        list(cosigned(river.checkpoint(), forged, [witness.key]))


# -- witnessing


def test_a_witness_cosigns_what_continues_the_log_it_saw(river, witness):
    first = witness.answer(request(river, 0), river.identity.operator)
    size = river.size
    grow(river)
    second = witness.answer(request(river, size))
    assert list(cosigned(river.checkpoint(), second, [witness.key])) != []
    with pytest.raises(Broken):
        list(cosigned(river.checkpoint(), first, [witness.key]))


def test_a_witness_says_from_where_it_wants_the_proof(river, witness):
    witness.answer(request(river, 0), river.identity.operator)
    with pytest.raises(ConfigError, match=f"--old {river.size}"):
        witness.answer(request(river, 1))


def test_a_witness_never_cosigns_two_histories_of_a_log(river, witness, rewrite, folder, state):
    witness.answer(request(river, 0), river.identity.operator)
    size, leaves = river.size, [entry.leaf for entry in river.entries()]
    rewrite([*leaves[1:], leaves[0]])
    shutil.rmtree(state / "ledgers")
    forked = Ledger.open(folder, state=state)
    with pytest.raises(Broken, match="fork"):
        witness.answer(request(forked, size))


def test_a_witness_asks_for_the_key_of_a_log_it_does_not_know(river, witness):
    with pytest.raises(ConfigError, match="--log"):
        witness.answer(request(river, 0))


def test_another_key_than_the_first_is_refused(river, witness):
    witness.answer(request(river, 0), river.identity.operator)
    other = Signer.from_seed("operator", bytes(32)).key(river.origin)
    with pytest.raises(Broken, match="not with the one given"):
        witness.answer(request(river, river.size), other)


@pytest.mark.parametrize("text", ["", "old 0", "old 1\n\n", "old x\n\nnote", "new 0\n\nnote", "old 0\nAA==\n\nn"])
def test_a_malformed_request_is_broken(river, witness, text):
    with pytest.raises(Broken):
        witness.answer(text, river.identity.operator)


def test_a_user_has_one_name_as_a_witness(state):
    made = own(state, NAME)
    assert own(state).key == made.key
    with pytest.raises(ConfigError, match="witnesses as"):
        own(state, "another.example/w2")
    with pytest.raises(ConfigError):
        own(state / "elsewhere", "a name with spaces")


# -- what verify makes of it


def test_verify_says_which_witnesses_it_had(river, witness, folder, state):
    answer = witness.answer(ask_witness(river, witness.key), river.identity.operator, at=1700000000)
    assert take_cosignature(river, answer, witness.key)[0] == river.size
    grow(river)
    trusting = verify_ledger(folder, state=state, keys=[str(river.identity.operator), str(witness.key)])
    assert trusting.findings == ()
    said = f"witness {NAME} at 2023-11-14T22:13:20Z: {river.size - 1} of {river.size} entries"
    assert said in trusting.evidence
    without = verify_ledger(folder, state=state)
    assert said not in without.evidence
    assert "whose key was not given" in texts(without.notes)
    remember_witness(state, witness.key)
    assert said in verify_ledger(folder, state=state).evidence


def test_the_next_request_starts_where_the_witness_stands(river, witness):
    take_cosignature(river, witness.answer(ask_witness(river, witness.key), river.identity.operator), witness.key)
    size = river.size
    grow(river)
    assert ask_witness(river, witness.key).startswith(f"old {size}\n")


def test_a_rollback_behind_a_cosigned_checkpoint_is_found(river, witness, folder, rewrite):
    take_cosignature(river, witness.answer(ask_witness(river, witness.key), river.identity.operator), witness.key)
    rewrite([entry.leaf for entry in river.entries()][:-1])
    assert "rolled back: outside/" in texts(verify_ledger(folder).findings)


def test_an_answer_to_nothing_that_was_asked_is_the_users_mistake(river, witness):
    answer = witness.answer(request(river, 0), river.identity.operator)
    grow(river)
    ask_witness(river, witness.key)
    with pytest.raises(ConfigError, match="no cosignature"):
        take_cosignature(river, answer, witness.key)


# -- time stamps


def test_a_time_stamp_counts_for_whoever_trusts_its_authority(river, authority, folder, tmp_path):
    size, found = take_stamp(river, authority.answer(ask_authority(river)), [authority.root])
    assert (size, str(found)) == (river.size, "CN=Stamps of a test at 2026-11-25T12:00:00Z")
    (tmp_path / "root.pem").write_bytes(authority.root)
    (tmp_path / "other.pem").write_bytes(Authority("another").root)
    trusting = verify_ledger(folder, authorities=[tmp_path / "root.pem"])
    assert f"time stamp of {found}: {size} of {size} entries" in trusting.evidence
    assert trusting.findings == ()
    assert "leads to none of the roots" in texts(verify_ledger(folder, authorities=[tmp_path / "other.pem"]).notes)
    assert "root was not given" in texts(verify_ledger(folder).notes)


def test_a_time_stamp_of_other_bytes_is_found(river, authority, folder, tmp_path):
    answer = authority.answer(ask_authority(river))
    take_stamp(river, answer, [authority.root])
    grow(river)
    ask_authority(river)
    (folder / "outside" / f"{river.size:08d}" / "moved.tsr").write_bytes(answer)
    (tmp_path / "root.pem").write_bytes(authority.root)
    assert "other bytes" in texts(verify_ledger(folder, authorities=[tmp_path / "root.pem"]).findings)


def test_a_time_stamp_of_a_stranger_is_not_taken(river, authority):
    answer = authority.answer(ask_authority(river))
    with pytest.raises(ConfigError, match="none of the roots"):
        take_stamp(river, answer, [Authority("another").root])
    for damaged in (b"", b"no", answer[:-40], answer[:200] + bytes([answer[200] ^ 1]) + answer[201:]):
        with pytest.raises(ConfigError):
            take_stamp(river, damaged, [authority.root])
    with pytest.raises(ConfigError, match="PEM"):
        take_stamp(river, answer, [b"no certificate"])
