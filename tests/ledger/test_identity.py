"""The key file vouches for its own bytes."""

import pytest

from trueseed.errors import Broken, ConfigError
from trueseed.ledger.identity import Identity, new_origin
from trueseed.ledger.signing import Signer, sign_note

OPERATOR, REVIEWER = Signer.from_seed("operator", bytes(range(32))), Signer.from_seed("reviewer", bytes(32))
ORIGIN = "trueseed/0123456789abcdef"
IDENTITY = Identity.of(ORIGIN, OPERATOR, REVIEWER)
LINES = f"{IDENTITY.operator}\n{IDENTITY.reviewer}\n"


def test_an_identity_is_read_back_as_it_was():
    assert Identity.open(IDENTITY.sign(OPERATOR)) == IDENTITY


def test_every_log_has_a_name_of_its_own():
    assert new_origin() != new_origin()


def test_every_bit_counts():
    note = IDENTITY.sign(OPERATOR).encode()
    for place in range(len(note) * 8):
        flipped = bytearray(note)
        flipped[place // 8] ^= 1 << place % 8
        with pytest.raises(Broken):
            Identity.open(flipped.decode(errors="replace"))


def test_a_newer_format_asks_for_an_upgrade():
    with pytest.raises(ConfigError, match=r"format 2.*upgrade"):
        Identity.open(sign_note(f"trueseed.dev/ledger@v2\n{LINES}of the future\n", OPERATOR, ORIGIN))


@pytest.mark.parametrize(
    "text",
    [
        f"trueseed.dev/ledger@v0\n{LINES}",
        f"trueseed.dev/ledger@v1\n{LINES}more\n",
        f"trueseed.dev/ledger@v1\n{IDENTITY.operator}\n{IDENTITY.operator}\n",
        f"trueseed.dev/ledger@v1\n{IDENTITY.operator}\n",
        f"{ORIGIN}\n0\n",
    ],
)
def test_a_signed_text_of_another_form_is_no_identity(text):
    with pytest.raises(Broken):
        Identity.open(sign_note(text, OPERATOR, ORIGIN))


def test_a_name_that_could_be_a_path_is_refused():
    evil = Identity.of("../../elsewhere", OPERATOR, REVIEWER)
    with pytest.raises(Broken):
        Identity.open(evil.sign(OPERATOR))
