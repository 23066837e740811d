"""Checkpoints are C2SP tlog-checkpoints of one log."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trueseed.errors import Broken
from trueseed.ledger.checkpoint import Checkpoint
from trueseed.ledger.signing import Signer, sign_note

SIGNER = Signer.from_seed("operator", bytes(range(32)))
ORIGIN = "trueseed/0123456789abcdef"
KEY = SIGNER.key(ORIGIN)
ROOT = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="


@given(st.integers(0, 2**60), st.binary(min_size=32, max_size=32))
def test_a_checkpoint_is_read_back_as_it_was(size, root):
    made = Checkpoint(origin=ORIGIN, size=size, root=root)
    assert Checkpoint.open(made.sign(SIGNER), KEY) == made


@pytest.mark.parametrize(
    "text",
    [
        "\n",
        f"{ORIGIN}\n0\n",
        f"{ORIGIN}\n0\n{ROOT}\nextension\n",
        f"{ORIGIN}\n00\n{ROOT}\n",
        f"{ORIGIN}\n-1\n{ROOT}\n",
        f"{ORIGIN}\n1_0\n{ROOT}\n",
        f"{ORIGIN}\n٣\n{ROOT}\n",
        f"{ORIGIN}\nmany\n{ROOT}\n",
        f"{ORIGIN}\n{'9' * 5000}\n{ROOT}\n",
        f"{ORIGIN}\n0\nAA==\n",
        f"{ORIGIN}\n0\n{ROOT[:-2]}V=\n",
        f"trueseed/another\n0\n{ROOT}\n",
    ],
)
def test_a_signed_text_of_another_form_is_no_checkpoint(text):
    with pytest.raises(Broken):
        Checkpoint.open(sign_note(text, SIGNER, ORIGIN), KEY)


def test_the_same_operators_checkpoint_of_another_log_is_told_apart():
    note = Checkpoint(origin="trueseed/fedcba9876543210", size=0, root=bytes(32)).sign(SIGNER)
    with pytest.raises(Broken, match="no signature by"):
        Checkpoint.open(note, KEY)
