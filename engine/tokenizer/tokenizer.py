"""A model's tokenizer: encode, decode, and what its files say about special tokens and the chat template.

Reads the files that ``transformers`` reads (tokenizer.json, tokenizer_config.json, generation_config.json, config.json,
chat_template.jinja) with the same results, without importing it: that would load torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import tokenizers

from ..errors import ModelNotFound
from . import files
from .bounds import TokenBounds
from .detokenizer import IncrementalDetokenizer
from .pieces import TokenPieces


class Tokenizer:
    """Thread-safe after loading.

    Attributes:
        special_tokens: the named ones as text, for chat templates: ``bos_token``, ``eos_token``, ``pad_token``, ...
        bos, eos_token_ids: the id that begins a text, or None; every id that ends an output, by any of the files.
        special_ids: ids that are markup rather than text.
        added_tokens: texts that become one token wherever they stand, by their ids; special ones and others.
        vocab_size: one more than the highest id. The model's own vocabulary may be padded beyond it.
        chat_template: the default chat template's source, or None. ``chat_templates``: all of them by name.
        model_max_length: tokens, or None where the files do not say.
        pieces: each token's bytes.
    """

    def __init__(self, backend: tokenizers.Tokenizer, config: files.TokenizerFiles) -> None:
        self._backend = backend
        self.special_tokens = config.special_tokens
        self.bos = self._id(config.special_tokens.get("bos_token"))
        self.eos_token_ids = _unique([*config.eos_token_ids, self._id(config.special_tokens.get("eos_token"))])
        added = backend.get_added_tokens_decoder()
        self.special_ids = frozenset(token for token, text in added.items() if text.special)
        self.added_tokens = {token: text.content for token, text in added.items()}
        self.vocab_size = max(backend.get_vocab(with_added_tokens=True).values(), default=-1) + 1
        self.chat_templates = config.chat_templates
        self.chat_template = config.chat_templates.get("default")
        self.model_max_length = config.model_max_length
        self.pieces = TokenPieces(backend)
        self._bounds = TokenBounds(backend)

    @classmethod
    def load(cls, folder: str | Path) -> Tokenizer:
        """The tokenizer of a model folder. Raises :class:`ModelNotFound` when its files are missing or unusable."""
        config = files.read(Path(folder))
        path = Path(folder) / "tokenizer.json"
        if not path.is_file():
            raise ModelNotFound(
                f"There is no tokenizer.json in {folder}. Where only tokenizer.model or vocab files exist, convert "
                "them: AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER) of transformers writes one."
            )
        try:
            backend = tokenizers.Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises nothing narrower
            raise ModelNotFound(f"{path} cannot be read as a tokenizer: {error}") from error
        backend.no_truncation()
        backend.no_padding()
        _add_configured_tokens(backend, config)
        return cls(backend, config)

    def encode(self, text: str, add_special_tokens: bool = False) -> list[int]:
        """Token ids of ``text``. Special tokens written in the text become their ids.

        ``add_special_tokens`` adds what the model wants around a plain text, such as a leading BOS; chat templates
        write these themselves. Lone surrogates, which JSON can carry and UTF-8 cannot, read as U+FFFD.
        """
        # encode_batch releases the GIL while it works; encode does not.
        return self._backend.encode_batch_fast([_well_formed(text)], add_special_tokens=add_special_tokens)[0].ids

    def least_tokens(self, text: str) -> int:
        """So many tokens ``text`` becomes at least, known without tokenising it; 0 where it is not known."""
        return self._bounds.least(text)

    def encode_prompt(self, text: str) -> list[int]:
        """Token ids of a text to go on from: with the special tokens around it, unless it brings its own BOS."""
        bos = self.special_tokens.get("bos_token")
        return self.encode(text, add_special_tokens=not (bos and text.startswith(bos)))

    def decode(self, token_ids: Sequence[int], skip_special_tokens: bool = True) -> str:
        """The text of a finished output, exactly as the same tokens give it when they are streamed.

        Ids that the tokenizer does not know add nothing. ``clean_up_tokenization_spaces`` is not applied: it was made
        for WordPiece and changes what a model wrote (``transformers`` ignores it for BPE too).
        """
        stream = IncrementalDetokenizer(self.pieces, self.special_ids if skip_special_tokens else frozenset())
        return stream.push(token_ids) + stream.finish()

    def token_id(self, token: str) -> int | None:
        """The id of a token given by its name in the vocabulary, such as ``<|im_end|>``."""
        return self._backend.token_to_id(token)

    def token_bytes(self, token: int) -> bytes:
        """The bytes that a token adds in the middle of a text; a part of a character for some tokens."""
        return self.pieces.later[token]

    def _id(self, token: str | None) -> int | None:
        return None if token is None else self._backend.token_to_id(token)


def _add_configured_tokens(backend: tokenizers.Tokenizer, config: files.TokenizerFiles) -> None:
    """tokenizer_config.json may declare tokens that tokenizer.json lacks, or the same ones with other flags."""
    present = backend.get_added_tokens_decoder()
    vocabulary = {token.content for token in present.values()}
    wanted = [token for index, token in sorted(config.added_tokens.items()) if repr(token) != repr(present.get(index))]
    vocabulary |= {token.content for token in wanted}
    named = [*config.special_tokens.values(), *config.extra_special_tokens]
    wanted += [tokenizers.AddedToken(name, special=True) for name in dict.fromkeys(named) if name not in vocabulary]
    if wanted:
        backend.add_tokens(wanted)


def _unique(ids: Sequence[int | None]) -> tuple[int, ...]:
    return tuple(dict.fromkeys(token for token in ids if token is not None))


def _well_formed(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
