"""Where weights are computed, and that CUDA is said to be untested. No test here runs on one."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from trueseed.lm import device
from trueseed.lm.network import Network
from trueseed.train import stage
from trueseed.train.settings import Config


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine that says it has one."""
    device._say_untested.cache_clear()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    yield
    device._say_untested.cache_clear()


def untested(caplog: pytest.LogCaptureFixture) -> int:
    return sum("CUDA, which is untested" in record.message for record in caplog.records)


@pytest.mark.usefixtures("cuda")
def test_cuda_is_taken_when_present_and_said_to_be_untested_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert device.chosen().type == device.chosen("cuda:1").type == "cuda"
        assert device.chosen("cuda:1").index == 1
    assert untested(caplog) == 1


@pytest.mark.usefixtures("cuda")
def test_who_names_the_processor_is_told_nothing(caplog: pytest.LogCaptureFixture) -> None:
    assert device.chosen("cpu") == torch.device("cpu")
    assert untested(caplog) == 0


def test_without_one_it_is_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device.chosen() == torch.device("cpu")


@pytest.mark.usefixtures("cuda")
@pytest.mark.parametrize("use", ["decode", "train"])
def test_it_is_said_before_weights_are_put_there(tiny_llama: Path, caplog: pytest.LogCaptureFixture, use: str) -> None:
    """Which fails here, where there is none."""
    with pytest.raises((AssertionError, RuntimeError)):
        Network(tiny_llama) if use == "decode" else stage.prepared(Config(), tiny_llama)
    assert untested(caplog) == 1
