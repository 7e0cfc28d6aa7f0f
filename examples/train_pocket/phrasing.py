"""Wordings: how a user may ask for something.

A bank entry lists noun phrases ("the sum of {a} and {b}"), imperative clauses ("add {a} and {b}") and whole sentences
("how much do i get if ..."). Frames around the first two multiply them. A *structure* is one form in one frame; every
fifth form and every fifth frame, chosen by a hash of its text, never occurs in training and serves to measure unseen
phrasings. Inside a form ``<a|b>`` stands for either; such variants share the form's split.
"""

from __future__ import annotations

import math
import re
import tomllib
import zlib
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Literal

from .slots import Slots

Split = Literal["train", "unseen"]
PHRASINGS = Path(__file__).parent / "phrasings"
_PLACEHOLDER = re.compile(r"\{(\w+)(#?)\}")
_OPTIONS = re.compile(r"<([^<>|]*(?:\|[^<>|]*)+)>")

_SYNONYMS = [
    ("folder", ["directory", "dir"]),
    ("directory", ["folder", "dir"]),
    ("file", ["document", "text file"]),
    ("largest", ["biggest", "greatest", "highest"]),
    ("smallest", ["lowest", "least"]),
    ("biggest", ["largest", "highest"]),
    ("save", ["store", "write", "put"]),
    ("compute", ["calculate", "work out", "figure out", "determine"]),
    ("calculate", ["compute", "work out", "figure out", "determine"]),
    ("find", ["get", "determine", "look for"]),
    ("tell me", ["give me", "let me know", "show me"]),
    ("show me", ["display", "print", "let me see", "give me"]),
    ("open", ["load", "look at", "open up"]),
    ("go to", ["open", "visit", "navigate to", "browse to"]),
    ("read", ["open", "look at", "check", "go through"]),
    ("delete", ["remove", "erase", "get rid of"]),
    ("create", ["make", "set up", "add"]),
    ("numbers", ["values", "figures"]),
    ("average", ["mean", "avg"]),
    ("total", ["sum", "overall sum"]),
    ("result", ["answer", "outcome"]),
    ("convert", ["change", "turn", "transform"]),
    ("content", ["text", "contents"]),
    ("what is", ["what's", "whats"]),
    ("then", ["afterwards", "after that", "next"]),
    ("i need", ["i want", "i'd like"]),
]
_SYNONYM_PATTERNS = [(re.compile(rf"(?<![{{\w]){word}(?![}}\w])"), options) for word, options in _SYNONYMS]
_SHORTENINGS = {"you": "u", "please": "pls", "what's": "whats", "i'm": "im", "don't": "dont", "and": "&", "are": "r"}


def held_out(text: str, every: int = 5) -> bool:
    """Whether a form or frame is reserved for evaluation: stable over runs and platforms."""
    return zlib.crc32(text.encode()) % every == 0


@dataclass
class _Forms:
    """The wordings of one kind, apart by split. Training never lacks a form; the unseen part may be empty."""

    train: list[str] = field(default_factory=list)
    unseen: list[str] = field(default_factory=list)
    weight: float = 0.0  # how often sentences are drawn, by the number of their variants

    @classmethod
    def of(cls, texts: list[str]) -> _Forms:
        forms = cls([t for t in texts if not held_out(t)], [t for t in texts if held_out(t)])
        if texts and not forms.train:
            forms.train = [forms.unseen.pop()]
        forms.weight = 0.5 + 0.35 * max(len(forms.train), min(30, _variants(forms)))
        return forms


@dataclass
class Wordings:
    """All forms of one intention."""

    noun_phrases: _Forms
    imperatives: _Forms
    sentences: _Forms

    @classmethod
    def of(cls, table: dict[str, list[str]]) -> Wordings:
        return cls(*(_Forms.of(table.get(kind, [])) for kind in ("np", "do", "ask")))

    def structures(self) -> int:
        frames = _frames()
        return (
            _variants(self.noun_phrases) * len(frames["noun_phrase"].train + frames["noun_phrase"].unseen)
            + _variants(self.imperatives) * len(frames["imperative"].train + frames["imperative"].unseen)
            + _variants(self.sentences)
        )


def _variants(forms: _Forms) -> int:
    return sum(
        math.prod(options.count("|") + 1 for options in _OPTIONS.findall(form)) for form in forms.train + forms.unseen
    )


@cache
def _frames() -> dict[str, _Forms]:
    table = tomllib.loads((PHRASINGS / "frames.toml").read_text())
    return {kind: _Forms.of(texts) for kind, texts in table.items()}


@cache
def bank() -> dict[str, Wordings]:
    """Every ``[area.intention]`` table of phrasings/*.toml except the frames, by dotted name."""
    entries = {}
    for path in sorted(PHRASINGS.glob("*.toml")):
        if path.stem == "frames":
            continue
        for area, tables in tomllib.loads(path.read_text()).items():
            for name, table in tables.items():
                entries[f"{area}.{name}"] = Wordings.of(table)
    return entries


class Phrasing:
    """Chooses wordings for one split and roughens them as people do."""

    def __init__(self, slots: Slots, split: Split = "train") -> None:
        self.slots = slots
        self.split: Split = split

    def request(self, wordings: Wordings | str, values: dict[str, str], *, tail: str = "") -> str:
        """A finished request. ``tail`` continues the sentence (" and save it to {out}")."""
        template = self.template(wordings)
        if tail:
            template = template.rstrip("?.! ") + tail
        return self.finish(template, values)

    def template(self, wordings: Wordings | str) -> str:
        """A form in a frame, placeholders still in it, its options decided."""
        return self.vary(self._template(wordings))

    def vary(self, form: str) -> str:
        """Decide every ``<a|b>``."""
        return _OPTIONS.sub(lambda match: self.slots.pick(match[1].split("|")), form) if "|" in form else form

    def _template(self, wordings: Wordings | str) -> str:
        entry = bank()[wordings] if isinstance(wordings, str) else wordings
        kinds: list[tuple[_Forms, _Forms | None, float]] = [
            (entry.noun_phrases, _frames()["noun_phrase"], 3.0),
            (entry.imperatives, _frames()["imperative"], 3.0),
            (entry.sentences, None, entry.sentences.weight),
        ]
        if self.split == "unseen":
            kinds = [k for k in kinds if k[0].unseen or (k[0].train and k[1])] or kinds
        kinds = [k for k in kinds if k[0].train]
        forms, frames, _ = self.slots.rng.choices(kinds, [weight for *_, weight in kinds])[0]
        new_form = self.split == "unseen" and bool(forms.unseen) and (frames is None or self.slots.chance(0.6))
        form = self.slots.pick(forms.unseen if new_form else forms.train)
        if frames is None:
            return form
        new_frame = self.split == "unseen" and not new_form
        return self.slots.pick(frames.unseen if new_frame else frames.train).replace("{}", form)

    def choose(self, options: list[str]) -> str:
        """One of a plain list of sentences, the split respected."""
        forms = _Forms.of(options)
        return self.vary(self.slots.pick(forms.unseen if self.split == "unseen" and forms.unseen else forms.train))

    def finish(self, template: str, values: dict[str, str]) -> str:
        return fill(self.roughen(template), values)

    def roughen(self, text: str) -> str:
        """Synonyms, greetings, typing habits; never inside a placeholder."""
        slots = self.slots
        if slots.chance(0.25):
            pattern, options = slots.pick(_SYNONYM_PATTERNS)
            text = pattern.sub(slots.pick(options), text, count=1)
        if slots.chance(0.12):
            text = " ".join(self._slip(word) if slots.chance(0.12) else word for word in text.split(" "))
        if slots.chance(0.08):
            text = " ".join(_SHORTENINGS.get(word, word) for word in text.split(" "))
        if slots.chance(0.03):
            text = f"{slots.pick(_frames()['context'].train)} {text}"
        elif slots.chance(0.2):
            text = slots.pick(_frames()["opening"].train) + text
        if slots.chance(0.1) and not text.endswith(("}", "?", "'", '"')):
            text = text.rstrip(".!") + slots.pick(_frames()["closing"].train)
        roll = slots.rng.random()
        if roll < 0.25:
            text = text.rstrip(".?!")
        elif roll < 0.33 and text[-1].isalpha():
            text += "."
        if text[0].isalpha() and slots.chance(0.5):
            text = text[0].upper() + text[1:]
            text = re.sub(r"\b(i)(?='|\b)(?![.}])", "I", text)
        elif slots.chance(0.02):
            text = re.sub(r"(?<![{\w])\w+(?![\w}])", lambda match: match[0].upper(), text)
        return text

    def _slip(self, word: str) -> str:
        """A typing slip in a longer plain word."""
        if len(word) < 5 or not word.isalpha():
            return word
        at = self.slots.rng.randint(1, len(word) - 2)
        kind = self.slots.pick(["swap", "drop", "double"])
        if kind == "swap":
            return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
        return word[:at] + word[at + 1 :] if kind == "drop" else word[:at] + word[at] + word[at:]


def fill(template: str, values: dict[str, str]) -> str:
    """Replace ``{name}``, and ``{name#}`` by the value's plain form ``name#`` if there is one. Unknown ones stay."""

    def value(match: re.Match[str]) -> str:
        name, plain = match.groups()
        return values.get(name + plain, values.get(name, match[0]))

    return _PLACEHOLDER.sub(value, template)
