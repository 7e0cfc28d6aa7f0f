"""Streamed text: the same however the tokens are cut, whole characters only, and never a part of a stop string."""

from __future__ import annotations

from pathlib import Path

import pytest
import tokenizers
from agenthost.engine import TextStream, Tokenizer
from agenthost.engine.errors import InvalidRequest
from agenthost.engine.tokenizer import IncrementalDetokenizer
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import decoders, models

# Long enough words, combining marks, characters of 2 to 4 bytes, and text that looks like byte tokens.
CHARACTERS = st.sampled_from([*"ab ab,.\n", "e\u0301", "ß", "中", "文", "🤖", "👩\u200d👧", "▁", "<0x41>", "\x00"])
TEXT = st.lists(CHARACTERS, max_size=30).map("".join)


@pytest.fixture(scope="module", params=["byte_level_folder", "byte_fallback_folder"])
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    return Tokenizer.load(request.getfixturevalue(request.param))


@pytest.fixture(scope="module")
def byte_level(byte_level_folder: Path) -> Tokenizer:
    return Tokenizer.load(byte_level_folder)


def cut(ids: list[int], data: st.DataObject) -> list[list[int]]:
    """``ids`` in consecutive pushes of any size, empty ones too."""
    borders = sorted(data.draw(st.lists(st.integers(0, len(ids)), max_size=len(ids) + 2)))
    return [ids[start:end] for start, end in zip([0, *borders], [*borders, len(ids)], strict=True)]


def stream(tokenizer: Tokenizer, pushes: list[list[int]], **options) -> tuple[str, int, str | None]:
    """Text, counted tokens and stop string of a whole output."""
    text_stream = TextStream(tokenizer, **options)
    pieces = [*map(text_stream.push, pushes), text_stream.finish()]
    return "".join(piece.text for piece in pieces), sum(piece.tokens for piece in pieces), pieces[-1].stop


def first_stop(text: str, stops: list[str], include: bool) -> tuple[str, str | None]:
    """The definition, character by character: the first to be completed, the longest of those."""
    for end in range(len(text) + 1):
        ended = [stop for stop in stops if text[:end].endswith(stop)]
        if ended:
            stop = max(ended, key=len)
            return (text[:end] if include else text[: end - len(stop)]), stop
    return text, None


@given(text=TEXT, data=st.data())
def test_any_cut_gives_the_whole_text(tokenizer, text, data):
    ids = tokenizer.encode(text)
    detokenizer = IncrementalDetokenizer(tokenizer.pieces)
    pieces = [detokenizer.push(push) for push in cut(ids, data)]
    assert "".join(pieces) + detokenizer.finish() == tokenizer.decode(ids)
    assert "\ufffd" not in "".join(pieces)


@given(data=st.data())
def test_any_cut_of_any_tokens_gives_the_same_text(tokenizer, data):
    ids = data.draw(st.lists(st.integers(0, tokenizer.vocab_size + 3)))
    detokenizer = IncrementalDetokenizer(tokenizer.pieces, tokenizer.special_ids)
    text = "".join(detokenizer.push(push) for push in cut(ids, data)) + detokenizer.finish()
    assert text == tokenizer.decode(ids)


@given(text=TEXT, stops=st.lists(st.text("ab ", min_size=1, max_size=4), max_size=3), data=st.data())
def test_stops_at_the_first_stop_string_to_be_completed(tokenizer, text, stops, data):
    ids = tokenizer.encode(text)
    include = data.draw(st.booleans())
    shown, _, stop = stream(tokenizer, cut(ids, data), stop=stops, include_stop=include)
    assert (shown, stop) == first_stop(tokenizer.decode(ids), stops, include)


@given(text=st.text("ab", max_size=12), stops=st.lists(st.text("ab", min_size=1, max_size=5), min_size=1, max_size=3))
def test_never_shows_what_may_become_a_stop_string(byte_level, text, stops):
    """After every token: nothing shown is part of a stop string, and nothing else is held back."""
    text_stream = TextStream(byte_level, stop=stops)
    seen, shown = "", ""
    for token in byte_level.encode(text):
        seen += byte_level.decode([token])
        shown += text_stream.push([token]).text
        final, stop = first_stop(seen, stops, include=False)
        if stop is not None:
            assert shown == final
            return
        held = max(size for size in range(len(seen) + 1) if size == 0 or any(s.startswith(seen[-size:]) for s in stops))
        assert shown == seen[: len(seen) - held]


@given(text=TEXT, stops=st.lists(st.text("ab", min_size=1, max_size=3), max_size=2), data=st.data())
def test_counts_the_tokens_up_to_the_one_that_completes_the_stop(tokenizer, text, stops, data):
    ids = tokenizer.encode(text)
    _, counted, stop = stream(tokenizer, cut(ids, data), stop=stops)
    if stop is None:
        assert counted == len(ids)
    else:
        one_by_one = TextStream(tokenizer, stop=stops)
        assert [one_by_one.push([token]).stop is not None for token in ids].index(True) + 1 == counted


@pytest.mark.parametrize(
    ("text", "stop", "shown"),
    [
        ("aaab", ["aab"], "a"),
        ("abababac", ["ababac"], "ab"),
        ("one STOP two STOP", ["STOP"], "one "),
        ("x abc", ["abc", "b"], "x a"),  # "b" is complete before "abc" is
        ("x abc", ["bc", "abc"], "x "),  # both end here: the longer
        ("tail ST", ["STOP"], "tail ST"),
        ("🤖👩\u200d👧!", ["👧"], "🤖👩\u200d"),
    ],
)
def test_examples(tokenizer, text, stop, shown):
    assert stream(tokenizer, [tokenizer.encode(text)], stop=stop)[0] == shown


def test_half_a_character_waits_for_its_other_half(byte_level):
    ids = byte_level.encode("🦖")
    text_stream = TextStream(byte_level)
    assert [text_stream.push([token]).text for token in ids] == [""] * (len(ids) - 1) + ["🦖"]


def test_an_output_that_ends_within_a_character_says_so(byte_level):
    text_stream = TextStream(byte_level)
    assert text_stream.push(byte_level.encode("a🦖")[:-1]).text == "a"
    assert text_stream.finish().text == "\ufffd"


def test_nothing_comes_after_the_stop(byte_level):
    text_stream = TextStream(byte_level, stop=["!"])
    assert text_stream.push(byte_level.encode("hi! more")).stop == "!"
    again = text_stream.push(byte_level.encode("more"))
    assert (again.text, again.tokens, again.stop) == ("", 0, "!")
    assert text_stream.finish().text == ""


def test_special_tokens_are_markup_unless_asked_for(byte_level):
    ids = byte_level.encode("hi<|im_end|><tool_call>")
    assert stream(byte_level, [ids])[0] == "hi<tool_call>"
    assert stream(byte_level, [ids], skip_special_tokens=False)[0] == "hi<|im_end|><tool_call>"


def test_an_empty_stop_string_is_refused(byte_level):
    with pytest.raises(InvalidRequest, match="empty"):
        TextStream(byte_level, stop=[""])


@pytest.mark.parametrize(
    "decoder",
    [None, decoders.WordPiece(), decoders.Metaspace(), decoders.Fuse(), decoders.Replace("▁", "_")],
    ids=["none", "WordPiece", "Metaspace", "Fuse", "Replace"],
)
@given(ids=st.lists(st.integers(0, 5)))
def test_decoders_without_bytes_stream_as_they_decode(decoder, ids, tmp_path_factory):
    vocab = {"a": 0, "▁b": 1, "##c": 2, "▁": 3, "▁▁d▁": 4, ",": 5}
    backend = tokenizers.Tokenizer(models.WordLevel(vocab, unk_token=","))
    if decoder is not None:
        backend.decoder = decoder
    folder = tmp_path_factory.mktemp("model")
    backend.save(str(folder / "tokenizer.json"))
    tokenizer = Tokenizer.load(folder)
    assert stream(tokenizer, [[token] for token in ids])[0] == backend.decode(ids)
