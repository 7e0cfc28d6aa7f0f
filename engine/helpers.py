"""The processes beside the engine's own. They are started before torch is loaded, so that all load it side by side."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .config import EngineConfig
from .hub import resolve_model
from .models.config import ModelConfig
from .parallel import ranks
from .parallel.shard import Shard
from .sampling import grammar_compiler
from .sampling.grammar_compiler import CompilerConfig, Launched


@dataclass(frozen=True)
class Helpers:
    """A grammar compiler for the model in ``folder``, and the other ranks where it is divided."""

    folder: Path
    model: ModelConfig
    compiler: Launched
    ranks: ranks.Ranks | None

    def expect_ends(self) -> None:
        """From now on, a rank that ends ends nothing else: what this process has to say is still said."""
        if self.ranks is not None:
            self.ranks.wanted = False

    def close(self) -> None:
        """End the ranks; the compiler is ended by whoever uses it."""
        if self.ranks is not None:
            self.ranks.close()

    @property
    def compiler_config(self) -> CompilerConfig:
        return _compiler_config(self.folder, self.model)


def start_helpers(config: EngineConfig, scratch: Path | None = None) -> Helpers:
    """Start them.

    ``scratch``: for their files, a folder of somebody who removes it; None for one of their own. Raises EngineError
    subclasses for what the operator can mend.
    """
    config.check()
    folder = resolve_model(config.model)
    model = ModelConfig.load(folder)
    Shard(0, config.tensor_parallel_size).check(model)
    compiler = grammar_compiler.launch(_compiler_config(folder, model))
    others = ranks.launch(config, scratch) if config.tensor_parallel_size > 1 else None
    return Helpers(folder, model, compiler, others)


def _compiler_config(folder: Path, model: ModelConfig) -> CompilerConfig:
    return CompilerConfig(folder=str(folder), vocab_size=model.vocab_size)
