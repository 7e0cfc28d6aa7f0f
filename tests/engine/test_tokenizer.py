"""The tokenizer agrees with transformers on the same files, and says what the files say."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tokenizers
from agenthost.engine import Tokenizer
from agenthost.engine.errors import ModelNotFound
from agenthost.engine.tokenizer.bounds import TokenBounds
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import decoders, models
from transformers import AutoTokenizer, PreTrainedTokenizerFast

TEXTS = [
    "", " ", "Hello, world!", "  two  spaces and a tail ", "I'm sure you'll don't , . ! ?", "x = [1, 23, 456]\n\n\tend",
    "Zwölf größere Straßen", "日本語 🤖🎉👩‍👩‍👧", "e\u0301 decomposed", "<|im_start|>user\nhi<|im_end|>\n",
    "a<tool_call>b naïve added c", "<s>text</s>", "▁ and <0x41>", "\x00\x07\u200b\ufffd\U000e0001",
]  # fmt: skip


@pytest.fixture(scope="module", params=["byte_level_folder", "byte_fallback_folder"])
def folder(request: pytest.FixtureRequest) -> Path:
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def ours(folder: Path) -> Tokenizer:
    return Tokenizer.load(folder)


@pytest.fixture(scope="module")
def theirs(folder: Path) -> PreTrainedTokenizerFast:
    return AutoTokenizer.from_pretrained(folder)


@pytest.mark.parametrize("add_special_tokens", [False, True])
@pytest.mark.parametrize("text", TEXTS)
def test_encodes_like_transformers(ours, theirs, text, add_special_tokens):
    assert ours.encode(text, add_special_tokens) == theirs.encode(text, add_special_tokens=add_special_tokens)


def test_a_prompt_has_one_bos_whether_it_brings_it_or_not(byte_fallback_folder):
    tokenizer = Tokenizer.load(byte_fallback_folder)
    for prompt in ("text", "<s>text"):
        assert tokenizer.encode_prompt(prompt).count(1) == 1
        assert tokenizer.encode_prompt(prompt)[0] == 1


@given(text=st.text(st.characters(exclude_categories=["Cs"])))
def test_encodes_any_text_like_transformers(ours, theirs, text):
    assert ours.encode(text) == theirs.encode(text, add_special_tokens=False)


@given(text=st.text(st.characters(exclude_categories=["Cs"])))
def test_no_text_becomes_fewer_tokens_than_its_length_says(ours, text):
    assert ours.least_tokens(text) <= len(ours.encode(text))


def test_long_texts_are_known_to_be_many_tokens(ours):
    assert ours.least_tokens("a b " * 1000) > 100
    shrinking = "\u1fbe\u0308\u0301" * 1000  # 7 bytes that NFC makes 2
    assert 0 < ours.least_tokens(shrinking) <= len(ours.encode(shrinking))


@pytest.mark.parametrize(
    ("part", "component"),
    [
        ("pre_tokenizer", tokenizers.pre_tokenizers.Split(" ", behavior="removed")),
        ("normalizer", tokenizers.normalizers.StripAccents()),
        ("normalizer", tokenizers.normalizers.Replace(tokenizers.Regex(" +"), "▁")),
        ("model", models.WordLevel({"<unk>": 0}, unk_token="<unk>")),
        ("model", models.BPE(vocab={"a": 0}, merges=[])),
    ],
)
def test_no_least_is_known_of_tokenizers_that_drop_text(part, component):
    backend = tokenizers.Tokenizer(
        models.BPE(vocab={f"<0x{byte:02X}>": byte for byte in range(256)}, merges=[], byte_fallback=True)
    )
    assert TokenBounds(backend).least("a" * 100) > 0
    setattr(backend, part, component)
    assert TokenBounds(backend).least("a" * 100) == 0


def test_white_space_that_an_added_token_swallows_is_not_counted(byte_level_folder):
    backend = tokenizers.Tokenizer.from_file(str(byte_level_folder / "tokenizer.json"))
    backend.add_tokens([tokenizers.AddedToken("<|user|>", rstrip=True)])
    text = "<|user|>" + " \n\u3000" * 1000
    assert TokenBounds(backend).least(text) == len(backend.encode(text).ids) == 1


@pytest.mark.parametrize("skip_special_tokens", [False, True])
@pytest.mark.parametrize("text", TEXTS)
def test_decodes_like_transformers(ours, theirs, text, skip_special_tokens):
    ids = theirs.encode(text)
    expected = theirs.decode(ids, skip_special_tokens=skip_special_tokens)
    assert ours.decode(ids, skip_special_tokens) == expected


@pytest.fixture(scope="module")
def byte_level_pair(byte_level_folder: Path) -> tuple[Tokenizer, PreTrainedTokenizerFast]:
    return Tokenizer.load(byte_level_folder), AutoTokenizer.from_pretrained(byte_level_folder)


@given(data=st.data())
def test_decodes_any_byte_level_tokens_like_transformers(byte_level_pair, data):
    """Any ids in any order: invalid UTF-8 in all its forms."""
    ours, theirs = byte_level_pair
    ids = data.draw(st.lists(st.integers(0, len(theirs) - 1)))
    assert ours.decode(ids) == theirs.decode(ids, skip_special_tokens=True)


def test_shows_the_valid_characters_of_a_broken_run_of_byte_tokens(byte_fallback_folder):
    tokenizer = Tokenizer.load(byte_fallback_folder)
    ids = tokenizer.encode("中")[1:]  # without the space before the text
    broken = tokenizer.token_id("<0xFF>")
    assert broken is not None
    assert tokenizer.decode([*ids, broken]) == "中\ufffd"


def test_reads_what_the_files_say_of_a_byte_level_model(byte_level_folder, tmp_path):
    folder = shutil.copytree(byte_level_folder, tmp_path / "model")
    (folder / "generation_config.json").write_text('{"eos_token_id": [420, 422]}')
    (folder / "config.json").write_text('{"eos_token_id": 421}')
    tokenizer = Tokenizer.load(folder)
    assert tokenizer.eos_token_ids == (420, 422, 421)
    assert tokenizer.token_id("<|im_end|>") == 422
    assert tokenizer.bos is None
    assert tokenizer.special_ids == {420, 421, 422}
    assert tokenizer.vocab_size == 426
    assert tokenizer.model_max_length == 4096
    assert tokenizer.chat_template == "inline"
    assert tokenizer.special_tokens == {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}


def test_reads_what_the_files_say_of_a_byte_fallback_model(byte_fallback_folder):
    tokenizer = Tokenizer.load(byte_fallback_folder)
    assert (tokenizer.bos, tokenizer.eos_token_ids) == (1, (2,))
    assert tokenizer.model_max_length is None
    assert tokenizer.chat_template == "plain"
    assert tokenizer.chat_templates == {"default": "plain", "tool_use": "tools"}


def test_a_template_file_wins_over_the_configuration(byte_level_folder, tmp_path):
    folder = shutil.copytree(byte_level_folder, tmp_path / "model")
    (folder / "chat_template.jinja").write_text("from the file")
    assert Tokenizer.load(folder).chat_template == "from the file"


def test_adds_the_tokens_that_only_the_configuration_names(byte_level_folder, tmp_path):
    folder = shutil.copytree(byte_level_folder, tmp_path / "model")
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config |= {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<|new|>", "extra_special_tokens": ["<|x|>"]}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    ours, theirs = Tokenizer.load(folder), AutoTokenizer.from_pretrained(folder)
    text = "a<|new|>b<|x|>c"
    assert ours.encode(text) == theirs.encode(text, add_special_tokens=False)
    assert ours.bos == theirs.bos_token_id == 426
    assert {426, 427} <= ours.special_ids


def test_takes_the_flags_of_added_tokens_from_the_configuration(byte_level_folder, tmp_path):
    folder = shutil.copytree(byte_level_folder, tmp_path / "model")
    config = json.loads((folder / "tokenizer_config.json").read_text())
    flags = {"lstrip": True, "rstrip": True, "normalized": False, "single_word": False, "special": True}
    config["added_tokens_decoder"] = {"423": {"content": "<tool_call>", **flags}}
    config["tokenizer_class"] = "PreTrainedTokenizerFast"
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    ours, theirs = Tokenizer.load(folder), AutoTokenizer.from_pretrained(folder)
    text = "a <tool_call> b"
    assert ours.encode(text) == theirs.encode(text, add_special_tokens=False)
    assert ours.decode(ours.encode(text)) == theirs.decode(ours.encode(text), skip_special_tokens=True) == "ab"


def test_truncation_saved_in_the_file_does_not_cut_prompts(byte_level_folder, tmp_path):
    folder = shutil.copytree(byte_level_folder, tmp_path / "model")
    backend = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    backend.enable_truncation(4)
    backend.enable_padding(length=64)
    backend.save(str(folder / "tokenizer.json"))
    ids = Tokenizer.load(folder).encode("one two three four five six seven")
    assert 4 < len(ids) < 64


def test_lone_surrogates_become_replacement_characters(ours):
    assert ours.encode("a\ud83db") == ours.encode("a\ufffdb")


def test_ids_outside_the_vocabulary_add_nothing(ours):
    ids = ours.encode("Hello world")
    assert ours.decode([*ids, 10**6]) == ours.decode(ids)


def test_token_bytes_are_parts_of_characters(byte_level_folder):
    tokenizer = Tokenizer.load(byte_level_folder)
    ids = tokenizer.encode("🦖")
    assert len(ids) > 1
    assert b"".join(map(tokenizer.token_bytes, ids)) == "🦖".encode()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("tokenizer.json", None, "no tokenizer.json"),
        ("tokenizer.json", "{}", "cannot be read as a tokenizer"),
        ("tokenizer_config.json", "not json", "cannot be read"),
        ("tokenizer_config.json", "[]", "must hold a JSON object"),
        ("tokenizer_config.json", '{"added_tokens_decoder": {"1": "x"}}', "unexpected shape"),
        ("generation_config.json", "\udcff", "cannot be read"),
    ],
)
def test_unusable_files_are_named(byte_level_folder, tmp_path, name, content, message):
    folder = shutil.copytree(byte_level_folder, tmp_path / "model")
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_text(content, errors="surrogateescape")
    with pytest.raises(ModelNotFound, match=message):
        Tokenizer.load(folder)


def test_a_decoder_that_needs_the_next_token_is_refused(tmp_path):
    backend = tokenizers.Tokenizer(models.BPE(vocab={"a</w>": 0}, merges=[]))
    backend.decoder = decoders.BPEDecoder(suffix="</w>")
    backend.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(ModelNotFound, match="BPEDecoder"):
        Tokenizer.load(tmp_path)


def test_loads_neither_torch_nor_transformers():
    code = "import sys, agenthost.engine.tokenizer; sys.exit(any(m in sys.modules for m in ('torch', 'transformers')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
