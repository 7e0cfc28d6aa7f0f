"""The tokenizer: byte-level BPE with 4,096 entries, trained on generated conversations.

Every digit is a token of its own, so that numbers are copied digit by digit. JSON escapes are tokens of their own, so
that code inside JSON reads like code. Punctuation never merges with letters, so a word has at most two first tokens
(with and without a space before it). Chat and tool tags are single tokens; tool tags are not *special*, so decoding
with ``skip_special_tokens`` keeps them for the parser.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from .chat import SPECIAL, TAGS, render
from .mixture import SHORT, Generator
from .slots import Slots, common_words
from .workspace import Workspace
from .world import inside

VOCABULARY_SIZE = 4096
LONGEST_TOKEN = 12
PATH = Path(__file__).with_name("tokenizer.json")
_PIECES = r"""\\[nrt"\\]| ?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}\\]+|\\|\s+(?!\S)|\s+"""


def train(conversations: int, seed: int = 7) -> Tokenizer:
    """Train on that many generated conversations and as many lines of plain words and names."""
    tokenizer = Tokenizer(models.BPE())
    split = pre_tokenizers.Split(Regex(_PIECES), behavior="isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )  # type: ignore[assignment]
    tokenizer.decoder = decoders.ByteLevel()  # type: ignore[assignment]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE,
        special_tokens=SPECIAL + TAGS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        max_token_length=LONGEST_TOKEN,
        show_progress=False,
    )
    tokenizer.train_from_iterator(_texts(conversations, seed), trainer)
    table = json.loads(tokenizer.to_str())
    for entry in table["added_tokens"]:
        entry["special"] = entry["content"] in SPECIAL
    return Tokenizer.from_str(json.dumps(table))


def pieces(tokenizer: Tokenizer) -> list[str]:
    """Entries that are letters only: the parts of unheard-of words."""
    entries = {token.removeprefix("Ġ") for token in tokenizer.get_vocab()}
    return sorted(entry for entry in entries if entry.isascii() and entry.isalpha())


def _texts(count: int, seed: int) -> Iterator[str]:
    rng = random.Random(seed)
    slots = Slots(rng)
    with tempfile.TemporaryDirectory() as directory, inside(Path(directory)):
        generator = Generator(rng, Workspace(Path(directory)))
        for _ in range(count):
            conversation = generator.conversation(SHORT)
            lines = conversation.tool_lines if rng.random() < 0.3 else []
            text = "".join(segment.text for segment in render(conversation.messages, lines))
            for tag in SPECIAL + TAGS:
                text = text.replace(tag, "\n")
            yield text
            yield " ".join(
                [slots.paragraph(2), slots.person(), slots.city(), slots.email(), *rng.sample(common_words(), 8)]
            )


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the tokenizer and save it.")
    parser.add_argument("--conversations", type=int, default=12_000)
    parser.add_argument("--out", type=Path, default=PATH)
    options = parser.parse_args()
    tokenizer = train(options.conversations)
    tokenizer.save(str(options.out))
    print(f"{tokenizer.get_vocab_size()} entries, saved to {options.out}")


if __name__ == "__main__":
    main()
