"""Models to measure without their weights: any folder's configuration, or a well-known shape by name."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import decoders, models, pre_tokenizers

from ..hub import resolve_model

_QWEN3: dict[str, Any] = {
    "architectures": ["Qwen3ForCausalLM"],
    "model_type": "qwen3",
    "vocab_size": 151936,
    "max_position_embeddings": 40960,
    "rope_theta": 1000000.0,
    "rms_norm_eps": 1e-6,
    "hidden_act": "silu",
    "head_dim": 128,
    "num_key_value_heads": 8,
    "attention_bias": False,
    "torch_dtype": "bfloat16",
    "bos_token_id": 0,
    "eos_token_id": 1,
}

SHAPES: dict[str, dict[str, Any]] = {
    "qwen3-0.6b": _QWEN3
    | {
        "hidden_size": 1024,
        "intermediate_size": 3072,
        "num_hidden_layers": 28,
        "num_attention_heads": 16,
        "tie_word_embeddings": True,
    },
    "qwen3-8b": _QWEN3
    | {
        "hidden_size": 4096,
        "intermediate_size": 12288,
        "num_hidden_layers": 36,
        "num_attention_heads": 32,
        "tie_word_embeddings": False,
    },
}


@contextmanager
def model_folder(name: str) -> Iterator[str]:
    """A folder with the configuration called ``name`` (one of :data:`SHAPES`, or what :func:`resolve_model` takes).

    A shape's folder has a tokenizer of single bytes and is removed afterwards.
    """
    if name not in SHAPES:
        yield str(resolve_model(name))
        return
    with tempfile.TemporaryDirectory(prefix="agenthost-shape-") as directory:
        folder = Path(directory)
        (folder / "config.json").write_text(json.dumps(SHAPES[name]))
        (folder / "tokenizer_config.json").write_text('{"bos_token": "<s>", "eos_token": "</s>"}')
        _byte_tokenizer().save(str(folder / "tokenizer.json"))
        yield directory


def _byte_tokenizer() -> tokenizers.Tokenizer:
    names = ["<s>", "</s>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    backend = tokenizers.Tokenizer(models.BPE(vocab={name: index for index, name in enumerate(names)}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    return backend
