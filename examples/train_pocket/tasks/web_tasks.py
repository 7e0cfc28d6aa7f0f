"""Tasks with the reading browser."""

from __future__ import annotations

from ..episode import Answer, Script, Task, single, turn
from ..scene import Scene
from ..slots import Slots
from ..web import Page, bare
from .facts import Fact, draw_facts, fact_answer

_SUBJECTS = {
    "product": ("price", "brand", "weight", "color", "warranty", "model number", "rating"),
    "book": ("author", "publisher", "year", "number of pages", "isbn", "price", "language"),
    "event": ("date", "time", "venue", "city", "ticket price", "organizer"),
    "person": ("phone", "email", "job title", "birth date", "city"),
    "company": ("ceo", "founding year", "headquarters", "number of employees", "phone", "revenue"),
    "city": ("population", "mayor", "area", "elevation", "founding year", "river"),
    "recipe": ("cooking time", "number of servings", "main ingredient", "oven temperature", "author"),
    "software": ("version", "license", "release date", "author", "language"),
}


def _value(slots: Slots, name: str) -> str:
    makers = {
        "price": lambda: f"${slots.price()}", "ticket price": lambda: f"${slots.price()}", "brand": lambda: slots.invented().capitalize(),
        "weight": lambda: f"{slots.integer(1, 999)} g", "color": lambda: slots.fill("color"), "warranty": lambda: f"{slots.integer(1, 10)} years",
        "model number": slots.ident, "rating": lambda: f"{slots.decimal(1, 5, 1)}", "author": slots.person, "organizer": slots.person, "mayor": slots.person,
        "ceo": slots.person, "publisher": lambda: f"{slots.word().capitalize()} Press", "year": lambda: slots.fill("year"), "founding year": lambda: slots.fill("year"),
        "number of pages": lambda: str(slots.integer(50, 1200)), "isbn": lambda: f"978{slots.integer(10**9, 10**10 - 1)}", "language": lambda: slots.fill("language"),
        "date": slots.long_date, "birth date": slots.long_date, "release date": slots.long_date, "time": slots.casual_clock,
        "venue": lambda: f"{slots.word().capitalize()} {slots.pick(['Hall', 'Park', 'Center', 'Arena'])}", "city": slots.city, "headquarters": slots.city,
        "phone": slots.phone, "email": slots.email, "job title": lambda: f"{slots.adjective()} {slots.pick(['engineer', 'manager', 'designer', 'analyst'])}",
        "number of employees": lambda: str(slots.integer(2, 90000)), "revenue": lambda: f"{slots.integer(1, 900)} million", "population": lambda: f"{slots.integer(1000, 9999999):,}",
        "area": lambda: f"{slots.integer(10, 5000)} km2", "elevation": lambda: f"{slots.integer(0, 3000)} m", "river": lambda: slots.invented().capitalize(),
        "cooking time": lambda: f"{slots.integer(5, 180)} minutes", "number of servings": lambda: str(slots.integer(1, 12)), "main ingredient": slots.noun,
        "oven temperature": lambda: f"{slots.integer(120, 260)} C", "version": lambda: slots.fill("version"), "license": lambda: slots.pick(["MIT", "Apache-2.0", "GPL-3.0"]),
    }  # fmt: skip
    return makers[name]()


_NATURAL = {
    "author": ["who wrote {n}?", "who is the author of {n}?", "by whom is {n}?"],
    "ceo": ["who runs {n}?", "who leads {n}?", "who is the boss of {n}?"],
    "mayor": ["who is the mayor of {n}?", "who governs {n}?"],
    "population": [
        "how many people live in {n}?",
        "how many inhabitants does {n} have?",
        "how big is the population of {n}?",
    ],
    "price": ["how much is {n}?", "what does {n} cost?", "how much do i pay for {n}?"],
    "founding year": [
        "when was {n} founded?",
        "how old is {n}? when was it founded?",
        "in which year was {n} founded?",
    ],
    "year": ["when was {n} published?", "what year is {n} from?", "when did {n} come out?"],
    "birth date": ["when was {n} born?", "what's {n}'s birthday?"],
    "headquarters": ["where is {n} based?", "where does {n} have its headquarters?"],
    "elevation": ["how high is {n}?", "how high above the sea is {n}?"],
    "number of pages": ["how many pages does {n} have?", "how long is the book {n}?"],
    "venue": ["where does {n} take place?", "where is {n} held?"],
    "date": ["when is {n}?", "on which date is {n}?"],
    "number of employees": ["how many people work at {n}?", "how many employees does {n} have?"],
    "cooking time": ["how long does {n} take to cook?", "how long must {n} cook?"],
    "weight": ["how heavy is {n}?", "what does {n} weigh?"],
    "phone": ["how can i call {n}?", "what number do i dial for {n}?"],
    "release date": ["when was {n} released?"],
    "area": ["how large is {n}?"],
    "warranty": ["how long is the warranty of {n}?"],
}


def _subject(slots: Slots, kind: str) -> str:
    if kind == "person":
        return slots.person()
    if kind == "company":
        return slots.company()
    if kind == "city":
        return slots.city()
    return slots.phrase(1, 3).title()


def _page(scene: Scene) -> tuple[str, Page, list[Fact]]:
    """A page about something with some properties: its subject, itself, the facts."""
    slots = scene.slots
    kind = slots.pick(list(_SUBJECTS))
    subject = _subject(slots, kind)
    if slots.chance(0.85):
        chosen = slots.rng.sample(_SUBJECTS[kind], slots.rng.randint(2, min(6, len(_SUBJECTS[kind]))))
        facts = [Fact(name, _value(slots, name), (f"the {name}",)) for name in chosen]
    else:
        facts = draw_facts(slots, slots.rng.randint(2, 5))
    lines = [slots.pick([f"{subject} is a {slots.adjective()} {kind}.", slots.sentence(), subject])]
    style = slots.pick(["colon", "sentence", "mixed"])
    for fact in facts:
        sentence = slots.pick(
            [
                f"The {fact.name} is {fact.value}.",
                f"Its {fact.name} is {fact.value}.",
                f"The {fact.name} of {subject} is {fact.value}.",
            ]
        )
        lines.append(
            f"{fact.name.capitalize()}: {fact.value}"
            if style == "colon" or (style == "mixed" and slots.chance(0.5))
            else sentence
        )
        if slots.chance(0.2):
            lines.append(slots.sentence())
    site = slots.domain()
    slug = "-".join("".join(c for c in word if c.isalnum()) for word in subject.lower().split())
    url = f"https://{site}{slots.pick([f'/{slug}', f'/{slug}', '', f'/{kind}/{slug}'])}"
    while bare(url) in scene.world.web.pages:
        url += str(slots.integer(2, 99))
    title = slots.pick([subject, subject, f"{subject} - {slots.word().capitalize()}", f"{subject} | {site}"])
    return subject, Page(title, url, lines), facts


def _typed(slots: Slots, url: str) -> str:
    """A URL as users type it."""
    return slots.pick([url, url, bare(url), url.replace("https://", "http://")])


def _more_pages(scene: Scene, low: int, high: int) -> list[Page]:
    pages = []
    for _ in range(scene.slots.rng.randint(low, high)):
        _, page, _ = _page(scene)
        scene.world.web.add(page)
        pages.append(page)
    return pages


def page_field(scene: Scene) -> Task:
    slots = scene.slots
    subject, page, facts = _page(scene)
    page.links = [(other.title, other.url) for other in _more_pages(scene, 0, 2)]
    url = _typed(slots, page.url)
    absent = slots.chance(0.12)
    fact = facts.pop() if absent else slots.pick(facts)
    if absent:
        page.lines = [line for line in page.lines if fact.value not in line]
        if any(fact.name in line.lower() for line in page.lines):
            return page_field(scene)
    scene.world.web.add(page)
    title = not absent and slots.chance(0.12)
    natural = fact.name in _NATURAL and slots.chance(0.3)
    if natural:
        frames = ["{a} see {u}", "open {u}: {a}", "{a} it's on {u}", "look at {u}. {a}", "check {u}, {a}"]
        request = scene.say.finish(
            scene.say.choose(frames),
            {"a": slots.pick(_NATURAL[fact.name]).replace("{n}", slots.pick([subject, "it", subject])), "u": url},
        )
    else:
        request = scene.say.request("web.page_title" if title else "web.page_field", {"u": url, "k": fact.ask(scene)})

    def script() -> Script:
        yield turn("open", {"id": url})
        if title and not natural:
            return Answer(
                slots.pick([f'The title is "{page.title}".', f"The page title is {page.title}."]), (page.title,)
            )
        if absent:
            return Answer(
                slots.pick(
                    [f"The page does not mention the {fact.name}.", f"I could not find the {fact.name} on {url}."]
                ),
                ("not",),
            )
        return Answer(fact_answer(slots, fact), (fact.value,))

    return single("open", request, script, ("open",))


def search_field(scene: Scene) -> Task:
    """Search, open the right result, answer."""
    slots = scene.slots
    subject, page, facts = _page(scene)
    scene.world.web.add(page)
    _more_pages(scene, 0, 3)
    fact = slots.pick(facts)
    missing = slots.chance(0.08)
    if missing:
        subject = f"{slots.rare().capitalize()} {slots.rare().capitalize()}"
    if fact.name in _NATURAL and slots.chance(0.5):
        frames = [
            "{a}",
            "{a} look it up",
            "{a} search the web",
            "{a} find it online",
            "please look up: {a}",
            "google {a}",
            "can you check online: {a}",
            "search: {a}",
        ]
        request = scene.say.finish(
            scene.say.choose(frames), {"a": slots.pick(_NATURAL[fact.name]).replace("{n}", subject)}
        )
    else:
        request = scene.say.request("web.search_field", {"k": fact.ask(scene), "n": subject})
    query = f"{subject} {fact.name}"

    def script() -> Script:
        (result,) = yield turn("search", {"query": query})
        link = _link_to(result, page.title)
        if missing or link is None:
            return Answer(
                slots.pick([f"I found nothing about {subject}.", f"The search gave no results for {subject}."]), ("no",)
            )
        yield turn("open", {"id": link})
        return Answer(
            slots.pick(
                [
                    f"The {fact.name} of {subject} is {fact.value}.",
                    f"According to {page.url}, the {fact.name} is {fact.value}.",
                ]
            ),
            (fact.value,),
        )

    return single("search", request, script, ("search", "open"))


def _link_to(result: str, title: str) -> int | None:
    """The number of the search result with this title."""
    for line in result.split("\n"):
        if f"†{title}†" in line:
            return int(line.split("【", 1)[1].split("†", 1)[0])
    return None


def follow(scene: Scene) -> Task:
    slots = scene.slots
    _, target, facts = _page(scene)
    scene.world.web.add(target)
    fact = slots.pick(facts)
    _, start, _ = _page(scene)
    label = slots.pick(
        [target.title, fact.name.capitalize(), "Details", "Contact", "About", "More", slots.phrase(1, 2).capitalize()]
    )
    start.links = [(label, target.url)] + [
        (slots.phrase(1, 2).capitalize(), page.url) for page in _more_pages(scene, 1, 3)
    ]
    slots.rng.shuffle(start.links)
    scene.world.web.add(start)
    number = [url for _, url in start.links].index(target.url)
    url = _typed(slots, start.url)

    def script() -> Script:
        yield turn("open", {"id": url})
        yield turn("open", {"id": number})
        return Answer(fact_answer(slots, fact), (fact.value,))

    return single(
        "follow", scene.say.request("web.follow", {"u": url, "t": label, "k": fact.ask(scene)}), script, ("open",)
    )


def find_text(scene: Scene) -> Task:
    slots = scene.slots
    _, page, facts = _page(scene)
    page.lines = [*[slots.sentence() for _ in range(slots.rng.randint(0, 20))], *page.lines]
    scene.world.web.add(page)
    fact, url = slots.pick(facts), _typed(slots, page.url)
    pattern = slots.pick([fact.value, fact.name])

    def script() -> Script:
        yield turn("open", {"id": url})
        (result,) = yield turn("find", {"pattern": pattern})
        if result == "No results found":
            return Answer(f"The page does not mention {pattern}.", ("not",))
        number = result.split("match at L", 1)[1].split("】", 1)[0]
        line = result.split("\n")[1]
        return Answer(f"Line {number} says: {line}", (line,))

    return single("find", scene.say.request("web.find", {"u": url, "x": pattern}), script, ("open", "find"))


def save_field(scene: Scene) -> Task:
    slots = scene.slots
    _, page, facts = _page(scene)
    scene.world.web.add(page)
    fact, url, path = slots.pick(facts), _typed(slots, page.url), scene.fresh_path("txt", 0.1)

    def script() -> Script:
        yield turn("open", {"id": url})
        yield turn("write_file", {"path": path, "content": fact.value})
        return Answer(
            f"The {fact.name} is {fact.value}. I saved it to {path}.",
            (path,),
            lambda world: (world.workspace.text(path) or "").strip() == fact.value,
        )

    return single(
        "web_save",
        scene.say.request("web.save", {"u": url, "k": fact.ask(scene), "p": path}),
        script,
        ("open", "write_file"),
    )


def price_times(scene: Scene) -> Task:
    slots = scene.slots
    _, page, _ = _page(scene)
    price = slots.price()
    page.lines = [line for line in page.lines if "rice" not in line] + [
        slots.pick([f"Price: ${price}", f"The price is ${price}.", f"It costs ${price}."])
    ]
    scene.world.web.add(page)
    url, count = _typed(slots, page.url), slots.integer(2, 200)

    def script() -> Script:
        yield turn("open", {"id": url})
        (result,) = yield turn("python", {"code": f"print(round({float(price)} * {count}, 2))"})
        shown = result.removesuffix(".0")
        return Answer(slots.pick([f"{count} pieces cost ${shown}.", f"The total is ${shown}."]), (shown,))

    return single(
        "web_compute", scene.say.request("web.compute", {"u": url, "n": str(count)}), script, ("open", "python")
    )


def page_gone(scene: Scene) -> Task:
    """A page that cannot be opened: search for its subject, or say so."""
    slots = scene.slots
    subject, page, facts = _page(scene)
    fact = slots.pick(facts)
    url = page.url + slots.pick(["/old", "/x1", ".html", "/missing"])
    found = slots.chance(0.7)
    if found:
        scene.world.web.add(page)
    about = (
        slots.pick([f"{fact.ask(scene)} of {subject}", fact.ask(scene)])
        if not found
        else f"{fact.ask(scene)} of {subject}"
    )
    request = scene.say.request("web.page_field", {"u": url, "k": about})

    def script() -> Script:
        yield turn("open", {"id": url})
        if not found and subject not in about:
            return Answer(f"I could not open {url}.", ("could not|cannot|not",))
        (result,) = yield turn(
            "search",
            {"query": f"{subject} {fact.name}"},
            slots.pick(["", "That page could not be opened. Let me search."]),
        )
        link = _link_to(result, page.title)
        if link is None:
            return Answer(f"I could not open {url}, and the search found nothing about {subject}.", ("could not|not",))
        yield turn("open", {"id": link})
        return Answer(f"{url} could not be opened, but {page.url} says the {fact.name} is {fact.value}.", (fact.value,))

    return single("page_gone", request, script, ("open", "search"))
