"""A signature over everything in a folder, as OpenSSF model-signing makes and verifies it.

    model_signing verify key FOLDER --signature FOLDER/model.sig --public_key FOLDER/model.pub

The key is the operator's, kept beside the one that signs the ledger; the closing statement of the export names the
public half with its SHA-256, and so says whose it is.
"""

from pathlib import Path

from trueseed.core.durable import state_folder
from trueseed.errors import ConfigError
from trueseed.ledger.signing import weights_key

SIGNATURE, PUBLIC_KEY = "model.sig", "model.pub"
UNSIGNED = "install it with `pip install 'trueseed[papers]'`, or give --unsigned"


def must_be_possible() -> None:
    """Raises `ConfigError` when the library that signs is not installed."""
    try:
        import model_signing  # noqa: F401
    except ImportError as err:
        raise ConfigError(f"the library that signs weights is not installed ({err}); {UNSIGNED}") from err


def sign(folder: Path) -> None:
    """Adds the signature and the public key. Whatever comes into the folder afterwards is not covered."""
    from model_signing import hashing, signing

    private, public = weights_key(state_folder() / "keys")
    (folder / PUBLIC_KEY).write_bytes(public)
    signature = folder / SIGNATURE
    covered = hashing.Config().set_ignored_paths(paths=[signature], ignore_git_paths=False)
    signing.Config().set_hashing_config(covered).use_elliptic_key_signer(private_key=private).sign(folder, signature)
