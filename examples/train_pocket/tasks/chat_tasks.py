"""Turns that need no tool: greetings, capabilities, what no tool can do, and answers that stand in the prompt."""

from __future__ import annotations

from .. import families
from ..episode import Answer, Round, Script, Task, says, single
from ..phrasing import fill
from ..scene import Scene
from .facts import draw_facts, fact_answer, facts_text

_REPLIES: dict[str, tuple[list[str], str]] = {
    "hello": (["Hello! How can I help you?", "Hi! What can I do for you?", "Hello! What do you need?"], "Hello|Hi"),
    "who": (["I am Pocket, a small built-in assistant that can use tools.", "I am Pocket, a tiny language model. I answer by using tools."], "Pocket|assistant"),
    "thanks": (["You are welcome!", "You're welcome! Anything else?"], "welcome"),
    "bye": (["Goodbye!", "Bye! Have a nice day."], "bye"),
    "mood": (["I am fine, thank you. How can I help you?", "All good! What can I do for you?"], "fine|good"),
    "joke": (["Why do programmers prefer dark mode? Because light attracts bugs.", "Why did the computer go to the doctor? It had a virus."], "?"),
    "fine": (["Let me know if you need anything else.", "OK! Tell me if you need anything else."], "need"),
    "beyond": (["I am a small model and cannot help with that. I can use my tools for files, code and lookups.", "That is beyond me, sorry. I am a small model that works with tools."], "cannot|can't|beyond|sorry"),
}  # fmt: skip
_SKILLS = {
    "python": "run Python code", "read_text_file": "read files", "write_file": "write files", "list_directory": "list directories", "search": "search the web",
    "open": "open web pages", "grep": "search in files", "edit_file": "edit files", "move_file": "move files", "search_files": "find files",
}  # fmt: skip


def small_talk(scene: Scene) -> Task:
    kind = scene.slots.rng.choices(list(_REPLIES), [4, 3, 2, 1.5, 2, 1.5, 1, 4])[0]
    replies, expect = _REPLIES[kind]
    return single("chat", scene.say.request(f"chat.{kind}", {}), says(scene.slots.pick(replies), (expect,)))


def capabilities(scene: Scene) -> Task:
    """What the assistant can do is what its tools can do."""

    def script() -> Script:
        views = list(scene.world.toolbox.views.values())
        if not views:
            return Answer("I have no tools right now. I can only chat a little.", ("no tools",), calls=False)
        names = [view.name for view in views]
        skills = [_SKILLS[view.tool] for view in views if view.tool in _SKILLS]
        listed = names if len(names) <= 12 else [*names[:12], "others"]
        lead = f"I can {', '.join(skills[:5])}. My tools are: " if skills else "I can use these tools: "
        return Answer(f"{lead}{', '.join(listed)}.", tuple(names[:2]), calls=False)
        yield

    return single("capabilities", scene.say.request("chat.can", {}), script)


def no_tool_fits(scene: Scene) -> Task:
    """A request for a tool that is not offered: say so plainly."""
    slots = scene.slots
    family = slots.pick(families.load(families.TRAINING))
    used = families.use(family, slots, scene.say)
    if slots.chance(0.3):
        hosted = ["what's the weather like in {city}?", "book me a table for {small} in {city}", "send an email to {first_name}", "call {first_name}", "play some music", "what time is it in {city}?", "order a pizza",
                  "turn on the lights", "what's in the news?", "translate '{word}' to {language}", "set an alarm for {clock}", "text {first_name} that i'm late", "get me a taxi to {street_address}", "how is the stock market?",
                  "<can you |could you |please |>order <me |us |>a <pizza|burger|coffee|taxi|new {word}>", "<can you |please |>call <my mom|my boss|{first_name}|a taxi|the police>", "<can you |please |>book <me |>a <flight|hotel|train|table|room> <to|in> {city}",
                  "<turn|switch> <on|off> the <tv|lights|heating|radio|lamp>", "<can you |>send <a text|a message|an email|flowers> to <{first_name}|my boss|my mom>", "<buy|get> me <a {word}|flowers|a ticket to {city}|some beer>",
                  "<can you |>play <a song|some jazz|the radio|my playlist>", "<can you |>take a <photo|picture|screenshot>", "<water|feed|walk> my <plants|cat|dog>", "<open|lock|close> the <door|garage|window>", "make me a <sandwich|coffee|tea>",
                  "<whats|how is> the weather <like |>in {city}<| today| tomorrow>", "print this <out |>on my printer", "<remind|wake> me <at {clock}|tomorrow>", "<post|tweet> this <on facebook|online|for me>", "<pay|transfer> <my rent|{small} euros to {first_name}>",
                  "<drive|take> me to {city}", "<can you |>fix my <car|phone|bike|sink>", "charge my phone", "how much <is a|does a> flight to {city}<| cost>", "<whats on|anything good on> tv <tonight|today>", "find me a <date|job|flat> in {city}"]  # fmt: skip
        template = scene.say.choose(hosted)
        request = scene.say.finish(
            fill(
                template,
                {
                    name: slots.fill(name)
                    for name in ("city", "small", "first_name", "word", "language", "clock", "street_address")
                },
            ),
            {},
        )
    else:
        request = scene.say.finish(used.template, used.words)
    barred = f"family:{family.id}"

    def script() -> Script:
        return Answer(
            slots.pick(
                [
                    "I have no tool for that.",
                    "Sorry, none of my tools can do that.",
                    "I cannot do that: I have no tool for it.",
                ]
            ),
            ("no tool|none|cannot|can't|not able",),
            calls=False,
        )
        yield

    task = single("no_tool", request, script)
    task.barred = (barred,)
    return task


def in_prompt(scene: Scene) -> Task:
    """The answer stands in the request itself, or the request is to repeat something."""
    slots = scene.slots
    if slots.chance(0.45):
        text = slots.pick(
            [
                slots.phrase,
                slots.sentence,
                slots.ident,
                slots.email,
                slots.phone,
                slots.word,
                lambda: " ".join(slots.ident() for _ in range(3)),
                lambda: slots.phrase(4, 9),
            ]
        )()
        frames = [
            "repeat after me: {x}",
            "say exactly: {x}",
            "echo {x}",
            "repeat this text: {x}",
            "write back the following: {x}",
            "just say '{x}'",
            "say {x}",
            "repeat: {x}",
            "answer only with {x}",
            "copy this: {x}",
            "<can you |could you |please |>repeat <the words |the text |this: |after me: |>'{x}'",
            "<please |just |now |>say <the words|the following|this><: | >{x}",
            "<please |>copy <out |>the following<| text| words>: {x}",
            "<please |>copy <this|these words|the text> <word for word|exactly>: {x}",
            "<echo|print|type|write> <this |>back<| to me>: {x}",
            "your answer should be <just|only> {x}",
            "<reply|respond|answer> with <just |only |exactly |>{x}",
        ]
        return single("repeat", scene.say.finish(scene.say.choose(frames), {"x": text}), says(text, (text,)))
    facts = draw_facts(slots, slots.rng.randint(2, 6))
    wanted = slots.pick(facts)
    frames = [
        "here is a text:\n{t}\n{a}?",
        "{t}\n\nfrom the text above, {a}?",
        "{a}? text: {t}",
        "given this:\n{t}\nwhat is {a}?",
        "read this and tell me {a}: {t}",
        "{t}\n\nwhat is {a}?",
        "i know the following: {t}\nso what is {a}?",
    ]
    request = scene.say.finish(
        scene.say.choose(frames), {"t": facts_text(slots, facts).strip(), "a": wanted.ask(scene)}
    )
    rounds = [Round(request, says(fact_answer(slots, wanted), (wanted.value,)))]
    if len(facts) > 1 and slots.chance(0.3):
        other = slots.pick([fact for fact in facts if fact is not wanted])
        rounds.append(Round(f"and {other.ask(scene)}?", says(fact_answer(slots, other), (other.value,))))
    return Task("in_prompt", rounds)


def recall(scene: Scene) -> Task:
    """Something told earlier in the conversation."""
    slots = scene.slots
    fact = draw_facts(slots, 1)[0]
    if slots.chance(0.4):
        name = slots.first_name()
        rounds = [Round(scene.say.finish(slots.pick(["my name is {n}", "i'm {n}", "hi, i am {n}", "call me {n}"]), {"n": name}), says(f"Nice to meet you, {name}. How can I help you?", (name,))),
                  Round(scene.say.roughen(slots.pick(["what's my name?", "do you remember my name?", "what is my name?", "who am i?"])), says(f"Your name is {name}.", (name,)))]  # fmt: skip
    else:
        told = scene.say.finish(
            slots.pick(["remember that {k} is {v}", "{k} is {v}", "note: {k} is {v}", "keep in mind: {k} is {v}"]),
            {"k": fact.ask(scene), "v": fact.value},
        )
        rounds = [
            Round(told, says(slots.pick(["OK, I will remember that.", f"Noted: the {fact.name} is {fact.value}."]))),
            Round(f"what is {fact.ask(scene)}?", says(fact_answer(slots, fact), (fact.value,), calls=None)),
        ]
    return Task("recall", rounds)
