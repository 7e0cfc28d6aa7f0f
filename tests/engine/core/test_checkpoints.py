"""What a model's folder may hold, and what is said of one that cannot be used."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from agenthost.engine import EngineConfig
from agenthost.engine.errors import InvalidConfig, ModelNotFound
from agenthost.engine.models.config import ModelConfig
from agenthost.engine.models.load import build_decoder
from agenthost.engine.parallel.group import ALONE
from agenthost.engine.runner.load import load_runner
from safetensors.torch import load_file, save_file

CPU = torch.device("cpu")
WEIGHTS = "model.safetensors"


@pytest.fixture
def folder(reference, tmp_path) -> Path:
    """A copy that may be changed."""
    return shutil.copytree(reference.folder, tmp_path / "model")


def reconfigure(folder: Path, **fields: Any) -> None:
    file = folder / "config.json"
    said = json.loads(file.read_text()) | fields
    file.write_text(json.dumps({name: value for name, value in said.items() if value != "absent"}))


def build(folder: Path) -> None:
    build_decoder(folder, ModelConfig.load(folder), 65, torch.float32, CPU)


def test_the_frequencies_of_old_conversions_are_passed_over(folder):
    tensors = load_file(folder / WEIGHTS)
    save_file(tensors | {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(8)}, folder / WEIGHTS)
    build(folder)


def test_another_copy_of_the_weights_beside_them_is_passed_over(folder):
    save_file({"layers.0.attention.wq.weight": torch.ones(2, 2)}, folder / "consolidated.safetensors")
    build(folder)


def test_weights_in_a_type_that_needs_scales_are_refused(folder):
    name = "model.layers.0.mlp.up_proj.weight"
    tensors = load_file(folder / WEIGHTS)
    save_file(tensors | {name: tensors[name].to(torch.float8_e4m3fn)}, folder / WEIGHTS)
    with pytest.raises(ModelNotFound, match=rf"{name} is stored as F8_E4M3, .*unquantized"):
        build(folder)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, "quantized by gptq .* unquantized"),
        ({"vocab_size": "absent"}, "missing required field `vocab_size`"),
        ({"hidden_size": "48"}, r"Expected `int`, got `str` - at `\$.hidden_size`"),
        ({"num_attention_heads": 0}, "num_attention_heads"),
        ({"num_key_value_heads": 3}, "8 heads and 3 KV heads"),
        ({"rope_parameters": {"rope_type": "llama3", "factor": 8.0}}, "missing required field `low_freq_factor`"),
        ({"rope_parameters": {"rope_theta": "high"}}, "rope_theta"),
    ],
)
def test_a_configuration_that_cannot_be_used_says_which_field(folder, fields, said):
    reconfigure(folder, **fields)
    with pytest.raises(ModelNotFound, match=said):
        ModelConfig.load(folder)


@pytest.mark.parametrize("text", ["[]", "{", '"text"'])
def test_a_configuration_that_is_no_object_is_refused(folder, text):
    (folder / "config.json").write_text(text)
    with pytest.raises(ModelNotFound, match=r"no readable config\.json"):
        ModelConfig.load(folder)


def test_an_index_that_names_no_files_is_refused(folder):
    (folder / "model.safetensors.index.json").write_text("{}")
    with pytest.raises(ModelNotFound, match="weight_map"):
        build(folder)


@pytest.mark.parametrize("dummy", [True, False])
def test_a_model_larger_than_memory_is_refused_before_it_is_made(folder, dummy):
    reconfigure(folder, hidden_size=2**20, intermediate_size=2**24)
    config = EngineConfig(model=str(folder), device="cpu", dtype="float32", threads=1, dummy_weights=dummy)
    with pytest.raises(InvalidConfig, match=r"weights take [0-9.]+ GiB .* smaller model"):
        load_runner(config, ALONE, CPU)
