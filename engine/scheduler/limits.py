"""What a request may ask for: every check that needs no model, before it is queued."""

from __future__ import annotations

from array import array
from dataclasses import dataclass

import numpy as np

from ..errors import ContextOverflow, InvalidRequest
from ..request import Request


@dataclass(frozen=True)
class Limits:
    """Sizes that do not change while the engine runs."""

    max_running: int
    max_waiting: int
    max_model_len: int
    vocab_size: int
    eos_token_ids: frozenset[int]

    def prompt_ids(self, request: Request) -> np.ndarray:
        """The prompt as (tokens,) int64. Raises InvalidRequest if it is empty or holds what is no token id."""
        if not request.prompt:
            raise InvalidRequest("the prompt is empty; it needs at least one token.", "prompt")
        ids = np.frombuffer(array("q", request.prompt), np.int64)
        if ids.min() < 0 or ids.max() >= self.vocab_size:
            raise InvalidRequest(f"the prompt holds a token id outside 0..{self.vocab_size - 1}.", "prompt")
        return ids

    def output_limit(self, request: Request) -> int:
        """The most tokens that the request may produce. Raises InvalidRequest for any parameter out of range."""
        prompt, sampling = request.prompt, request.sampling
        sampling.check(self.vocab_size)
        room = self.max_model_len - len(prompt)
        if room < (sampling.max_tokens or 1):
            wanted = f" and asks for {sampling.max_tokens} of output" if sampling.max_tokens is not None else ""
            raise ContextOverflow(
                f"This model's maximum context length is {self.max_model_len} tokens. The request has {len(prompt)} "
                f"tokens of prompt{wanted}. Shorten the prompt{' or ask for less' if wanted else ''}.",
                "prompt",
            )
        return sampling.max_tokens or room

    def ends(self, request: Request) -> frozenset[int]:
        """The token ids that end the request's output."""
        stops = frozenset(request.sampling.stop_token_ids)
        return stops if request.sampling.ignore_eos else stops | self.eos_token_ids
