"""From a request's fields to the engine's sampling parameters."""

from __future__ import annotations

from ...engine import Grammar, SamplingParams
from .errors import ApiError
from .schemas import ChatRequest, GenerationRequest

MAX_TOP_LOGPROBS = 20
MAX_STOPS = 64

_PLAIN = (
    "temperature", "top_p", "top_k", "min_p", "presence_penalty", "frequency_penalty", "repetition_penalty",
    "min_tokens", "ignore_eos", "seed",
)  # fmt: skip


def sampling_params(
    chat: ChatRequest, defaults: dict[str, float], *, room: int, grammar: Grammar | None
) -> SamplingParams:
    """A chat request's; see :func:`engine_sampling`."""
    completion = chat.max_completion_tokens is not None
    return engine_sampling(
        chat, defaults, room=room, grammar=grammar, logprobs=_logprobs(chat),
        most=chat.max_completion_tokens if completion else chat.max_tokens,
        most_param="max_completion_tokens" if completion else "max_tokens",
    )  # fmt: skip


def engine_sampling(
    request: GenerationRequest,
    defaults: dict[str, float],
    *,
    room: int,
    grammar: Grammar | None,
    most: int | None,
    logprobs: int | None,
    most_param: str = "max_tokens",
) -> SamplingParams:
    """Raises :class:`ApiError` for combinations that mean nothing; ranges are checked by SamplingParams itself.

    Args:
        defaults: the model's own recommendations; a field that the client sets wins.
        room: tokens that the prompt leaves. More asked for means as many as fit: clients send round numbers.
        most: tokens asked for, by the field ``most_param``; None for what there is room for.
        logprobs: as of SamplingParams.
    """
    given = {name: value for name in _PLAIN if (value := getattr(request, name)) is not None}
    if most is not None and most < 1:
        raise ApiError(f"{most_param} must be at least 1, not {most}.", code="invalid_value", param=most_param)
    return SamplingParams(
        **{**defaults, **given},
        max_tokens=room if most is None else min(most, room),
        logit_bias=_logit_bias(request.logit_bias or {}),
        stop_token_ids=tuple(request.stop_token_ids or ()),
        logprobs=logprobs,
        grammar=grammar,
    )


def stop_strings(chat: GenerationRequest) -> tuple[str, ...]:
    """Without repetitions and empty ones. Raises :class:`ApiError` when there are too many."""
    stop = [chat.stop] if isinstance(chat.stop, str) else chat.stop or []
    if len(stop) > MAX_STOPS:
        raise ApiError(f"stop may hold {MAX_STOPS} texts, not {len(stop)}.", code="invalid_value", param="stop")
    return tuple(dict.fromkeys(text for text in stop if text))


def _logit_bias(bias: dict[str, float]) -> dict[int, float]:
    try:
        return {int(token): value for token, value in bias.items()}
    except ValueError as error:
        raise ApiError("logit_bias maps token ids to numbers.", code="invalid_value", param="logit_bias") from error


def _logprobs(chat: ChatRequest) -> int | None:
    top = chat.top_logprobs
    if top is not None and not 0 <= top <= MAX_TOP_LOGPROBS:
        raise ApiError(
            f"top_logprobs must be between 0 and {MAX_TOP_LOGPROBS}, not {top}.",
            code="invalid_value",
            param="top_logprobs",
        )
    if top and not chat.logprobs:
        raise ApiError("top_logprobs needs logprobs to be true.", code="invalid_value", param="top_logprobs")
    return (top or 0) if chat.logprobs else None
