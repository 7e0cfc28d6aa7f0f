"""Write a checkpoint as a Hugging Face folder: ``python -m train_pocket.export CHECKPOINT FOLDER``."""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from . import checkpoint
from .chat import SPECIAL, TAGS, TEMPLATE
from .model import ModelConfig
from .tokenizer import PATH

SHARD_LIMIT = 16_000_000  # bytes


def export(weights: dict[str, Tensor], config: ModelConfig, folder: Path) -> None:
    """Weights in bf16 as two or more shards with an index, configuration, tokenizer and chat template."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {f"model.{name}": tensor.to(torch.bfloat16).contiguous() for name, tensor in weights.items()}
    shards: list[dict[str, Tensor]] = [{}]
    size = 0
    for name, tensor in tensors.items():
        length = tensor.numel() * 2
        if size + length > SHARD_LIMIT - 20_000:  # room for the header
            shards.append({})
            size = 0
        shards[-1][name] = tensor
        size += length
    places = {}
    for index, shard in enumerate(shards, 1):
        file = f"model-{index:05d}-of-{len(shards):05d}.safetensors"
        save_file(shard, folder / file, metadata={"format": "pt"})
        places |= dict.fromkeys(shard, file)
    total = sum(tensor.numel() * 2 for tensor in tensors.values())
    _write(folder / "model.safetensors.index.json", {"metadata": {"total_size": total}, "weight_map": places})
    _write(folder / "config.json", config.huggingface())
    _write(folder / "generation_config.json", {"do_sample": False, "eos_token_id": 2, "pad_token_id": 0})
    added = {str(index): {"content": token, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False,
                          "special": token in SPECIAL} for index, token in enumerate(SPECIAL + TAGS)}  # fmt: skip
    _write(
        folder / "tokenizer_config.json",
        {
            "added_tokens_decoder": added,
            "clean_up_tokenization_spaces": False,
            "eos_token": "<|im_end|>",
            "model_max_length": config.context,
            "pad_token": "<|endoftext|>",
            "tokenizer_class": "PreTrainedTokenizerFast",
        },
    )
    shutil.copy(PATH, folder / "tokenizer.json")
    shutil.copy(TEMPLATE, folder / "chat_template.jinja")


def _write(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    weights, progress = checkpoint.load(options.checkpoint)
    export(weights, ModelConfig(**progress["model"]), options.folder)
    print(f"wrote {options.folder}")


if __name__ == "__main__":
    main()
