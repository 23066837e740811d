import pytest
import torch

from trueseed.errors import ConfigError
from trueseed.lm.arithmetic import named


def test_auto_is_bfloat16_only_where_the_processor_multiplies_it():
    able = torch.cpu.get_capabilities()
    native = any(able.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))
    assert named("auto", "cpu") is (torch.bfloat16 if native else torch.float32)


@pytest.mark.parametrize("name", ["bfloat16", "float32"])
def test_a_named_type_is_taken_at_its_word(name):
    assert named(name, "cpu") is getattr(torch, name)


def test_another_type_is_the_users_mistake():
    with pytest.raises(ConfigError, match="int8"):
        named("int8", "cpu")
