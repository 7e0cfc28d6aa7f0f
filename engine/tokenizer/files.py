"""What the files around tokenizer.json say, as one value."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tokenizers

from ..errors import ModelNotFound

_NAMED = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")

# transformers writes an absurd number (1e30) where the length is not known.
_NO_LENGTH = 10**9


@dataclass(frozen=True)
class TokenizerFiles:
    """``special_tokens`` are by role (``bos_token``), ``added_tokens`` by id, ``chat_templates`` by name.

    ``add_bos_token`` and ``add_eos_token`` are not read: beside a tokenizer.json, transformers ignores them too.
    """

    special_tokens: dict[str, str]
    extra_special_tokens: list[str]
    added_tokens: dict[int, tokenizers.AddedToken]
    eos_token_ids: list[int]
    chat_templates: dict[str, str]
    model_max_length: int | None


def read(folder: Path) -> TokenizerFiles:
    """Raises :class:`ModelNotFound` for a file that is there and is not what it should be."""
    try:
        return _read(folder)
    except (AttributeError, KeyError, TypeError) as error:
        raise ModelNotFound(f"The tokenizer files in {folder} have an unexpected shape: {error!r}") from error


def _read(folder: Path) -> TokenizerFiles:
    config = _json(folder / "tokenizer_config.json")
    legacy = _json(folder / "special_tokens_map.json")
    named = {name: _content(config.get(name) or legacy.get(name)) for name in _NAMED}
    extra = config.get("extra_special_tokens") or config.get("additional_special_tokens") or []
    named_extra: dict[str, Any] = extra if isinstance(extra, dict) else {}
    plain_extra: list[Any] = list(extra.values()) if isinstance(extra, dict) else extra
    special = {**named, **{name: _content(token) for name, token in named_extra.items()}}
    length = config.get("model_max_length")
    return TokenizerFiles(
        special_tokens={name: token for name, token in special.items() if token is not None},
        extra_special_tokens=[token for item in plain_extra if (token := _content(item)) is not None],
        added_tokens={
            int(index): tokenizers.AddedToken(**{key: value for key, value in token.items() if key != "__type"})
            for index, token in config.get("added_tokens_decoder", {}).items()
        },
        eos_token_ids=_eos_token_ids(folder),
        chat_templates=_chat_templates(folder, config),
        model_max_length=int(length) if isinstance(length, int | float) and 0 < length < _NO_LENGTH else None,
    )


def _eos_token_ids(folder: Path) -> list[int]:
    ids: list[int] = []
    config = _json(folder / "config.json")
    for source in (_json(folder / "generation_config.json"), config, config.get("text_config") or {}):
        value = source.get("eos_token_id")
        ids += [value] if isinstance(value, int) else value or []
    return ids


def _chat_templates(folder: Path, config: dict[str, Any]) -> dict[str, str]:
    """By name. Files of their own win over tokenizer_config.json, as in transformers."""
    templates: dict[str, str] = {}
    inline = config.get("chat_template")
    if isinstance(inline, str):
        templates["default"] = inline
    elif isinstance(inline, list):
        templates = {item["name"]: item["template"] for item in inline}
    for path in sorted((folder / "additional_chat_templates").glob("*.jinja")):
        templates[path.stem] = path.read_text(encoding="utf-8")
    path = folder / "chat_template.jinja"
    if path.is_file():
        templates["default"] = path.read_text(encoding="utf-8")
    return templates


def _content(token: Any) -> str | None:
    """A token is written as text or as an object with its flags."""
    return token.get("content") if isinstance(token, dict) else token


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ModelNotFound(f"{path} cannot be read: {error}") from error
    if not isinstance(value, dict):
        raise ModelNotFound(f"{path} must hold a JSON object.")
    return value
