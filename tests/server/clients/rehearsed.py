"""The engine process with a model that has learnt by heart what to say: ``python rehearsed.py FOLDER``.

Scheduler, radix cache, sampler and grammars are the real ones. The model's keys and values are the token ids
themselves, kept in the cache's pages: it reads its whole context from there, so a page that is wrong makes it say wrong
things. ``FOLDER/lines.json`` maps cues to what is said after them; the cue that stands last in the prompt counts.
"""

import json
import sys
from pathlib import Path
from typing import Any

import agenthost.engine.runner.load as loading
import numpy as np
import torch
from agenthost.engine import Tokenizer, worker
from agenthost.engine.attention.base import AttentionBackend
from agenthost.engine.parallel.group import ALONE
from torch import nn

OPENING = "<|im_start|>assistant\n"
SURE = 50.0  # by how much the next token's logit is above all others'
CLOSING = ('"', "}", "]", ",", '"}', "}\n")  # what it says where its line is not allowed, or such texts would never end


class Lines:
    """What to say next."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "lines.json"
        self._tokenizer = Tokenizer.load(folder)
        self._opening = self._tokenizer.encode(OPENING)
        self._closing = [token for text in CLOSING if (token := self._tokenizer.token_id(text)) is not None]
        self._read: tuple[int, dict[str, str]] = (0, {})

    def after(self, context: list[int]) -> list[int]:
        """What may come after ``context``: the line's next token, or the end of the turn behind it."""
        end = self._tokenizer.eos_token_ids[0]
        begin = len(context) - context[::-1].index(self._opening[0]) - 1 + len(self._opening)
        prompt, said = context[:begin], context[begin:]
        line = [*self._tokenizer.encode(self._line(self._tokenizer.decode(prompt, skip_special_tokens=False))), end]
        return [line[len(said)]] if line[: len(said)] == said and len(said) < len(line) else [end, *self._closing]

    def _line(self, prompt: str) -> str:
        heard = {prompt.rfind(cue) + len(cue): line for cue, line in self._lines().items() if cue in prompt}
        return heard[max(heard)] if heard else ""

    def _lines(self) -> dict[str, str]:
        changed = self._file.stat().st_mtime_ns
        if changed != self._read[0]:
            self._read = changed, json.loads(self._file.read_text())
        return self._read[1]


class Ids(AttentionBackend):
    """A KV cache that holds token ids."""

    def __init__(self, group, num_pages, page_size) -> None:
        super().__init__(group, num_pages, page_size)
        self._ids = np.zeros((num_pages + 1, page_size), np.int64)

    def prepare(self, layout):
        self._layout = layout

    def forward(self, layer: int, heads: Any) -> Any:
        """Keep a step's tokens ``heads``; for each, all tokens of its row."""
        counts, depths = self._layout.counts, self._layout.depths
        rows = np.repeat(np.arange(len(counts)), counts)
        positions = np.arange(len(rows)) - (np.cumsum(counts) - counts)[rows] + depths[rows]
        self._ids[self._layout.pages[rows, positions // self.page_size], positions % self.page_size] = heads
        known = [self._ids[pages].reshape(-1) for pages in self._layout.pages]
        whole = [ids[:length].tolist() for ids, length in zip(known, depths + counts, strict=True)]
        return [whole[row] for row in rows]

    def copy_pages(self, sources, targets):
        self._ids[targets] = self._ids[sources]


class Rehearsed(nn.Module):
    """In the place of a Decoder."""

    weights = 0
    group = ALONE

    def __init__(self, config, lines):
        super().__init__()
        self.config = config
        self._lines = lines

    def optimize(self):
        pass

    def layered(self, ids, positions, attend):
        """The texts behind the tokens; nothing is added to them."""
        return attend(0, ids.numpy()), None

    def forward(self, ids, positions, wanted, attend):
        said, _ = self.layered(ids, positions, attend)
        wanted = range(len(ids)) if wanted is None else wanted.tolist()
        logits = torch.zeros(len(wanted), self.config.vocab_size)
        for place, token in enumerate(wanted):
            logits[place, self._lines.after(said[token])] = SURE
        return logits


if __name__ == "__main__":
    lines = Lines(Path(sys.argv[1]))
    loading.dummy_decoder = lambda config, *_: Rehearsed(config, lines)
    loading.build_attention = lambda config, model, size, *_: Ids(model.kv_groups[0], size.pages, config.page_size)
    worker.main()
