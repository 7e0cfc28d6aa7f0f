"""Model folders with small tokenizers of the two common kinds, trained here on a few sentences."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

SENTENCES = [
    "The quick brown fox jumps over the lazy dog. 0123456789, don't you'll we've I'm it's!",
    "def main(argument):\n    return [argument['key'], \"text\\n\"]  # a comment\n\n",
    "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich.",
    "我能吞下玻璃而不伤身体。日本語のテキスト。 한국어 문장입니다.",
    "Emoji 🤖🎉👩‍👩‍👧 and combining é ñ ệ marks, ½ ﬁ ², tabs\tand   spaces.",
]

QWEN_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

MARKUP = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
WORDS = ["<tool_call>", "</tool_call>", "naïve added"]  # added, and text all the same


@pytest.fixture(scope="session")
def byte_level_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Qwen's shape: NFC, its pattern, bytes as printable characters."""
    backend = tokenizers.Tokenizer(models.BPE())
    backend.normalizer = normalizers.NFC()
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(tokenizers.Regex(QWEN_PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=420, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    backend.train_from_iterator(SENTENCES, trainer)
    backend.add_special_tokens(MARKUP)
    backend.add_tokens(WORDS)
    folder = tmp_path_factory.mktemp("byte_level")
    backend.save(str(folder / "tokenizer.json"))
    _write(folder / "tokenizer_config.json", {
        "tokenizer_class": "Qwen2Tokenizer", "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>",
        "model_max_length": 4096, "clean_up_tokenization_spaces": True, "chat_template": "inline",
    })  # fmt: skip
    return folder


@pytest.fixture(scope="session")
def byte_fallback_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Llama 2's shape: a space before the text, ▁ for spaces, bytes only for what the vocabulary lacks."""
    backend = tokenizers.Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    backend.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="first", split=False)
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    backend.decoder = decoders.Sequence(steps)
    trainer = trainers.BpeTrainer(
        vocab_size=420,
        special_tokens=["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))],
        limit_alphabet=60,
        show_progress=False,
    )
    # One sentence has spaces only; the rest leaves enough characters out of the alphabet for bytes to be needed.
    backend.train_from_iterator(SENTENCES[:3], trainer)
    backend.post_processor = processors.TemplateProcessing(single=["<s>", "$A"], special_tokens=[("<s>", 1)])
    specification = json.loads(backend.to_str())
    specification["added_tokens"] = [token for token in specification["added_tokens"] if token["id"] < 3]
    folder = tmp_path_factory.mktemp("byte_fallback")
    _write(folder / "tokenizer.json", specification)
    _write(folder / "tokenizer_config.json", {
        "tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>",
        "add_bos_token": True, "add_eos_token": True, "model_max_length": 1e30,
        "chat_template": [{"name": "default", "template": "plain"}, {"name": "tool_use", "template": "tools"}],
    })  # fmt: skip
    return folder


def _write(path: Path, value: object) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")
