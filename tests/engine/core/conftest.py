"""Small random models as Hugging Face folders, and transformers' own word on what they say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import tokenizers
import torch
import transformers
from agenthost.engine import TokenStream
from agenthost.engine.attention.base import AttentionBackend
from agenthost.engine.attention.paged import PagedAttention
from agenthost.engine.attention.torch_sdpa import TorchAttention
from agenthost.engine.cache.kv import KVCache
from agenthost.engine.errors import EngineError
from agenthost.engine.models.config import ModelConfig
from agenthost.engine.models.decoder import Decoder
from agenthost.engine.models.load import build_decoder
from agenthost.engine.request import Request, SamplingParams, TokenLogprob
from agenthost.engine.runner.runner import ModelRunner
from agenthost.engine.scheduler.budget import Budget
from agenthost.engine.scheduler.events import Accepted, Failed
from agenthost.engine.scheduler.limits import Limits
from agenthost.engine.scheduler.scheduler import Scheduler
from tokenizers import decoders, models, pre_tokenizers

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")  # the same histories on whichever runner there is
VOCABULARY = 265  # 256 bytes, two special tokens, and some padding; an odd number
EOS = 257

SHAPE: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 3,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 512,
    "eos_token_id": EOS,
    "bos_token_id": 256,
    "pad_token_id": 256,
}
LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 4.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
LINEAR_ROPE = {"rope_type": "linear", "rope_theta": 10000.0, "factor": 2.0}

CONFIGS: dict[str, transformers.PretrainedConfig] = {
    "qwen3": transformers.Qwen3Config(**SHAPE, tie_word_embeddings=False),
    "qwen3-tied": transformers.Qwen3Config(**SHAPE, tie_word_embeddings=True, attention_bias=True),
    "llama": transformers.LlamaConfig(**SHAPE, tie_word_embeddings=False),
    "llama3-rope": transformers.LlamaConfig(**SHAPE, tie_word_embeddings=True, rope_parameters=LLAMA3_ROPE),
    "llama-biased": transformers.LlamaConfig(
        **SHAPE, attention_bias=True, mlp_bias=True, tie_word_embeddings=False, rope_parameters=LINEAR_ROPE
    ),
}


@dataclass(frozen=True)
class Reference:
    """A model folder and the same model in transformers, fp32."""

    folder: Path
    model: transformers.PreTrainedModel

    @torch.inference_mode()
    def logits(self, tokens: list[int]) -> torch.Tensor:
        """(tokens, vocabulary) float32."""
        return self.model(torch.tensor([tokens])).logits[0]

    def disagreement(self, prompt: list[int], output: list[int]) -> float:
        """By how much the reference prefers another token, at worst, when it reads the same output; 0 is agreement."""
        rows = self.logits([*prompt, *output])[len(prompt) - 1 : -1]
        chosen = rows.gather(1, torch.tensor(output).unsqueeze(1)).squeeze(1)
        return float((rows.max(-1).values - chosen).max())


def _write_tokenizer(folder: Path) -> None:
    vocabulary = {character: index for index, character in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    backend = tokenizers.Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(["<s>", "</s>"])
    backend.save(str(folder / "tokenizer.json"))


def make_reference(family: str, folder: Path, shards: str = "5GB") -> Reference:
    """A random model whose head is scaled, so that the best token is ahead of the second by far more than rounding."""
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(CONFIGS[family], dtype=torch.float32).eval()
    for name, parameter in model.named_parameters():
        if name.endswith("bias") or "norm" in name:
            parameter.data += 0.2 * torch.randn_like(parameter)
        else:
            parameter.data *= 3.0
    if not CONFIGS[family].tie_word_embeddings:
        model.lm_head.weight.data *= 8.0
    model.save_pretrained(folder, max_shard_size=shards)
    _write_tokenizer(folder)
    return Reference(folder, model)


@pytest.fixture(scope="session", params=list(CONFIGS))
def any_reference(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Reference:
    """Each supported family in turn; one of them in several shards."""
    shards = "60KB" if request.param == "llama" else "5GB"
    return make_reference(request.param, tmp_path_factory.mktemp(request.param), shards)


torch.set_num_threads(1)  # for models so small that threads only wait for each other


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    return make_reference("qwen3", tmp_path_factory.mktemp("model"))


async def tokens_of(stream: TokenStream) -> list[int]:
    return [token async for output in stream for token in output.token_ids]


class Serving:
    """A scheduler over a reference model, with small sizes that make things run out; every step is checked."""

    def __init__(self, reference: Reference, **options: Any) -> None:
        sizes = {"pages": 64, "page_size": 4, "slots": 4, "max_model_len": 120, "busy": 16.0, "idle": 64.0}
        sizes |= {key: options.pop(key) for key in list(options) if key in sizes}
        config = ModelConfig.load(reference.folder)
        if reference.folder not in _DECODERS:
            decoder = build_decoder(reference.folder, config, 512, torch.float32, DEVICE)
            decoder.optimize()
            _DECODERS[reference.folder] = decoder
        pages, page_size, slots = int(sizes["pages"]), int(sizes["page_size"]), int(sizes["slots"])
        attention: AttentionBackend
        if DEVICE.type == "cpu":
            attention = TorchAttention(config.kv_groups[0], pages, page_size, torch.float32, DEVICE)
        else:
            attention = PagedAttention(
                config.kv_groups[0], config.num_heads, pages, page_size, torch.float32, torch.float32, DEVICE,
                max_rows=slots, max_pages=slots * -(-int(sizes["max_model_len"] + 1) // page_size),
            )  # fmt: skip
        self.runner = ModelRunner(_DECODERS[reference.folder], attention, slots, DEVICE)
        if DEVICE.type == "cuda":
            self.runner.capture(sorted({1, min(2, slots), slots}), [16, 64])  # some steps fit, some do not
        self.cache = KVCache(pages, page_size, share=options.pop("share", True))
        limits = Limits(
            max_running=int(sizes["slots"]),
            max_waiting=options.pop("max_waiting", 100),
            max_model_len=int(sizes["max_model_len"]),
            vocab_size=VOCABULARY,
            eos_token_ids=frozenset([EOS]),
        )
        budget = Budget(busy=sizes["busy"], idle=sizes["idle"], least=2, unit=config.attention_unit)
        self.scheduler = Scheduler(self.runner, self.cache, limits, budget, debug=True, **options)
        self.outputs: dict[str, list[int]] = {}
        self.finished: dict[str, str | EngineError] = {}
        self.cached: dict[str, int] = {}
        self.logprobs: dict[str, list[TokenLogprob]] = {}

    def submit(self, request_id: str, prompt: list[int], **sampling: Any) -> None:
        meta = {key: sampling.pop(key) for key in ("priority", "cache_salt", "deadline") if key in sampling}
        params = SamplingParams(**({"temperature": 0.0, "max_tokens": 8} | sampling))
        self.scheduler.submit(Request(id=request_id, prompt=prompt, sampling=params, **meta))

    def step(self) -> None:
        for event in self.scheduler.step():
            assert event.id not in self.finished, "an event after the end"
            if isinstance(event, Failed):
                self.finished[event.id] = event.error
            elif isinstance(event, Accepted):
                self.outputs[event.id] = []
            else:
                self.outputs[event.id] += event.output.token_ids
                self.logprobs.setdefault(event.id, []).extend(event.output.logprobs or [])
                self.cached[event.id] = event.output.cached_tokens
                if event.output.finish_reason is not None:
                    self.finished[event.id] = event.output.finish_reason

    def run(self, most: int = 2000) -> None:
        """Until nothing is left to do."""
        for _ in range(most):
            if not self.scheduler.has_work:
                return
            self.step()
        raise AssertionError(f"still busy after {most} steps")


_DECODERS: dict[Path, Decoder] = {}


@pytest.fixture
def serving(reference: Reference) -> Callable[..., Serving]:
    """Makes a Serving on the common reference model."""
    return partial(Serving, reference)
