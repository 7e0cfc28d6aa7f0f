"""Text to token ids and back. Loads `tokenizers` only: no torch, no transformers."""

from __future__ import annotations

from .detokenizer import IncrementalDetokenizer
from .stream import StopScanner, TextStream
from .tokenizer import Tokenizer

__all__ = ["IncrementalDetokenizer", "StopScanner", "TextStream", "Tokenizer"]
