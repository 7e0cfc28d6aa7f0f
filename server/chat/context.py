"""What the model's context has room for, and the refusal of what it has not."""

from __future__ import annotations

from collections.abc import Sequence

from ...engine import Tokenizer
from ...engine.errors import ContextOverflow


def overflow(tokens: int, limit: int, *, least: bool = False) -> ContextOverflow:
    """The words by which clients notice that they have to shorten the conversation.

    Args:
        least: there may be more ``tokens``: they were not counted to the end.
    """
    return ContextOverflow(
        f"This model's maximum context length is {limit} tokens. However, your messages resulted in "
        f"{'at least ' if least else ''}{tokens} tokens. Please reduce the length of the messages.",
        "messages",
    )


def check_length(texts: Sequence[str], tokenizer: Tokenizer, limit: int) -> None:
    """Raises ContextOverflow for texts that can only be too long together, before they are tokenised."""
    least = sum(map(tokenizer.least_tokens, texts))
    if least >= limit:
        raise overflow(least, limit, least=True)
