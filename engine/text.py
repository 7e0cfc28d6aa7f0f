"""From a request's token outputs to its text: stop strings, ends, and what counts as produced."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from .request import FinishReason, TokenLogprob, TokenOutput
from .tokenizer import TextStream, Tokenizer


class TextOutput(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The next piece of text of one request.

    The pieces' ``text`` concatenate to the whole output. ``token_ids`` are the tokens newly produced since the last
    piece (their text may come later: half a character, or a possible stop string, is held back); they concatenate to
    the tokens that usage counts. ``stop_reason`` is the stop string or the stop id that ended the output, None for the
    model's own end. ``prompt_tokens`` and ``cached_tokens`` are the same in every piece.
    """

    text: str
    token_ids: list[int]
    logprobs: list[TokenLogprob] | None
    finish_reason: FinishReason | None
    stop_reason: str | int | None
    prompt_tokens: int
    cached_tokens: int


class TextAssembler:
    """Turns the token outputs of one request, in order, into text outputs.

    When a text output has a ``finish_reason`` that its token output did not have, a stop string was found: the request
    is still running and should be aborted.

    Args:
        prompt_tokens: length of the prompt, to be reported.
        own_ends: the model's own end-of-sequence ids; they are no stop reason.
        stop, include_stop, skip_special_tokens: see TextStream.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        prompt_tokens: int,
        own_ends: Iterable[int],
        *,
        stop: Sequence[str] = (),
        include_stop: bool = False,
        skip_special_tokens: bool = True,
    ) -> None:
        self._stream = TextStream(
            tokenizer, stop=stop, include_stop=include_stop, skip_special_tokens=skip_special_tokens
        )
        self._prompt_tokens = prompt_tokens
        self._own_ends = frozenset(own_ends)

    def take(self, output: TokenOutput) -> TextOutput:
        finish, end = output.finish_reason, output.stop_token
        # The id that ends an output is counted and reported, but is no text.
        piece = self._stream.push(output.token_ids[:-1] if end is not None else output.token_ids)
        text, stop = piece.text, piece.stop
        counted = len(output.token_ids) if stop is None else piece.tokens
        if stop is None and finish is not None:
            last = self._stream.finish()
            text, stop = text + last.text, last.stop
        reason: str | int | None = end if end not in self._own_ends else None
        if stop is not None:
            finish, reason = "stop", stop
        tokens, logprobs = output.token_ids, output.logprobs
        if counted < len(tokens):
            tokens, logprobs = tokens[:counted], logprobs and logprobs[:counted]
        return TextOutput(
            text=text,
            token_ids=tokens,
            logprobs=logprobs,
            finish_reason=finish,
            stop_reason=reason,
            prompt_tokens=self._prompt_tokens,
            cached_tokens=output.cached_tokens,
        )
