"""Prompts of random words, as long in tokens as they are wanted on a server whose tokenizer is not known here."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from ..json_values import JsonObject
from .client import Client

# Common enough to be one token each in most vocabularies.
_WORDS = """
the of and a in to is was it for on are as with his they at be this from have or by one had not but what all were when
we there can an your which their said if do will each about how up out them then she many some so these would other
into has more her two like him see time could no make than first been its who now people my made over did down only
way find use may water long little very after words called just where most know get through back much before go good
new write our used me man too any day same right look think also around another came come work three word must because
does part even place well such here take why things help put years different away again off went old number great tell
men say small every found still between name should home big give air line set own under read last never left end
"""

_VOCABULARY = _WORDS.split()
_FEW, _MANY = 40, 240  # words of the two prompts that measure the tokenizer


@dataclass(frozen=True)
class Gauge:
    """What words cost on a server: tokens of one word, and of the chat template around a prompt."""

    per_word: float
    around: float

    @classmethod
    async def of(cls, client: Client, seed: str) -> Gauge:
        """By the server's own count for two prompts, which also wake it up. Raises RequestFailed."""
        random = Random(f"{seed}/gauge")
        few, many = [await client.chat(user(random_words(random, count)), 1) for count in (_FEW, _MANY)]
        per_word = (many.prompt_tokens - few.prompt_tokens) / (_MANY - _FEW)
        return cls(max(per_word, 0.1), max(few.prompt_tokens - _FEW * per_word, 0))

    def inside(self, tokens: int) -> int:
        """Words of a part of a prompt."""
        return max(1, round(tokens / self.per_word))

    def whole(self, tokens: int) -> int:
        """Words of a prompt that is this long with the template around it."""
        return self.inside(max(1, round(tokens - self.around)))


def random_words(random: Random, count: int) -> str:
    return " ".join(random.choices(_VOCABULARY, k=count))


def user(text: str) -> list[JsonObject]:
    """A conversation that begins."""
    return [{"role": "user", "content": text}]
