"""Print generated conversations, for reading: ``python -m train_pocket.show --count 5 --task table_question``."""

from __future__ import annotations

import argparse
import random
import tempfile
from pathlib import Path

from .chat import Message, render
from .episode import play
from .mixture import EVALUATION, LONG, MIXTURE, SHORT, Generator, system_prompt
from .workspace import Workspace
from .world import inside


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--task", choices=sorted(MIXTURE), help="only this kind")
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--unseen", action="store_true", help="held-out wordings")
    parser.add_argument("--tools", action="store_true", help="print the tools too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory, inside(Path(directory)):
        generator = Generator(
            random.Random(options.seed), Workspace(Path(directory)), split="unseen" if options.unseen else "train"
        )
        for _ in range(options.count):
            if options.task:
                scene = generator.scene(EVALUATION)
                task = MIXTURE[options.task][0](scene)
                generator.offer_tools(scene, [task], EVALUATION)
                messages: list[Message] = [{"role": "system", "content": system_prompt(scene.slots)}]
                for round_ in task.rounds:
                    play(scene.world, round_, messages)
                lines = scene.world.toolbox.lines()
            else:
                conversation = generator.conversation(LONG if options.long else SHORT)
                messages, lines = conversation.messages, conversation.tool_lines
            text = "".join(segment.text for segment in render(messages, lines))
            print(
                text
                if options.tools or "</tools>" not in text
                else text.split("</tools>\n", 1)[1].split("<|im_end|>", 1)[1]
            )
            print("=" * 80)


if __name__ == "__main__":
    main()
