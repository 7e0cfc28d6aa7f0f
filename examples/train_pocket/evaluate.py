"""Score a model folder: ``python -m train_pocket.evaluate FOLDER --suites seen phrasings natural``.

Every call is executed: Python in a process of its own, files in a real directory. A call that is not valid JSON, names
no tool or does not fit its schema fails the item, and so does a wrong argument.
"""

from __future__ import annotations

import argparse
import collections
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer

from .agent import Generate, drive
from .decode import Decoder
from .interpreter import Subprocess
from .model import Model, ModelConfig
from .suites import CASUAL, Item, items
from .toolbox import Toolbox

SUITES = ["seen", "phrasings", "invented", "natural", "crowded"]
ANSWER_LIMIT = 320  # tokens of one turn


def load_model(folder: Path) -> Model:
    """The model of a Hugging Face folder that export.py wrote."""
    table = json.loads((folder / "config.json").read_text())
    config = ModelConfig(
        vocabulary=table["vocab_size"], hidden=table["hidden_size"], layers=table["num_hidden_layers"],
        heads=table["num_attention_heads"], kv_heads=table["num_key_value_heads"], head_dim=table["head_dim"],
        intermediate=table["intermediate_size"], rope_base=table["rope_theta"], context=table["max_position_embeddings"],
    )  # fmt: skip
    model = Model(config)
    weights = {}
    for file in sorted(folder.glob("*.safetensors")):
        weights |= {name.removeprefix("model."): tensor.float() for name, tensor in load_file(file).items()}
    model.load_state_dict(weights)
    return model


def bare_loop(folder: Path, batch: int) -> Generate:
    """Generation by :class:`Decoder`, on CUDA in bf16 where there is CUDA."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = load_model(folder)
    decoder = Decoder(model.to(device), torch.bfloat16 if device.type == "cuda" else torch.float32)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))

    def generate(prompts: Sequence[str], toolboxes: Sequence[Toolbox]) -> list[str]:
        encoded = [tokenizer.encode(prompt, add_special_tokens=False).ids for prompt in prompts]
        texts = [""] * len(prompts)
        order = sorted(range(len(prompts)), key=lambda index: len(encoded[index]))
        for start in range(0, len(order), batch):
            part = order[start : start + batch]
            outputs = decoder.generate([encoded[index] for index in part], ANSWER_LIMIT)
            for index, output in zip(part, outputs, strict=True):
                texts[index] = tokenizer.decode(output, skip_special_tokens=True)
        return texts

    return generate


def evaluate(generate: Generate, suites: list[str], count: int) -> list[tuple[Item, str]]:
    """Run all items; each comes back with why it failed, or an empty string."""
    with tempfile.TemporaryDirectory() as directory:
        every = list(items(Path(directory), count, suites))
        drive([item.run for item in every], generate)
        results = [(item, item.judge(item.run)) for item in every]
        for item in every:
            if isinstance(item.run.world.python, Subprocess):
                item.run.world.python.close()
    return results


def report(results: list[tuple[Item, str]]) -> dict[str, dict[str, list[int]]]:
    """Right and all, by suite and category."""
    table: dict[str, dict[str, list[int]]] = collections.defaultdict(lambda: collections.defaultdict(lambda: [0, 0]))
    for item, why in results:
        for category in ("all", item.category):
            cell = table[item.suite][category]
            cell[0] += not why
            cell[1] += 1
    return table


def transcript(item: Item, why: str) -> str:
    """A failed item, for reading."""
    lines = [
        f"### {item.suite} / {item.category}: {why}",
        "tools: " + ", ".join(view.name for view in item.run.world.toolbox.views.values()),
    ]
    for message in item.run.messages:
        calls = "".join(
            " " + json.dumps(call["function"], ensure_ascii=False) for call in message.get("tool_calls", [])
        )
        lines.append(f"[{message['role']}] {message.get('content', '')[:900]}{calls}")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--suites", nargs="+", default=SUITES, help=f"of {', '.join(SUITES)}, {', '.join(CASUAL)}")
    parser.add_argument("--count", type=int, default=10, help="items of each category")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--engine", action="store_true", help="generate with agenthost's engine, not the bare loop")
    parser.add_argument("--grammar", action="store_true", help="the same, with calls held to their schemas")
    parser.add_argument("--out", type=Path, help="folder for scores.json and failures.txt")
    options = parser.parse_args()
    start = time.perf_counter()
    if options.engine or options.grammar:
        from .through_engine import engine_loop

        generate = engine_loop(options.folder, ANSWER_LIMIT, grammar=options.grammar)
    else:
        generate = bare_loop(options.folder, options.batch)
    results = evaluate(generate, options.suites, options.count)
    table = report(results)
    for suite, categories in table.items():
        right, total = categories["all"]
        print(f"{suite}: {right}/{total} = {right / total:.1%}")
        weak = {name: cell for name, cell in categories.items() if cell[0] < cell[1] and name != "all"}
        print("   " + "  ".join(f"{name} {right}/{total}" for name, (right, total) in weak.items()))
    print(f"{time.perf_counter() - start:.0f} s")
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "scores.json").write_text(json.dumps(table, indent=1))
        (options.out / "failures.txt").write_text("\n".join(transcript(item, why) for item, why in results if why))


if __name__ == "__main__":
    main()
