"""Tables as people ask about them: the oldest person, what costs more than 50, price times quantity; CSV and JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

from ..episode import Answer, Call, Script, Task, Turn, single, turn
from ..scene import Scene
from ..slots import Slots
from .python_tasks import shown_code, shown_result


@dataclass(frozen=True)
class Number:
    """A column of numbers and what people say of it."""

    names: tuple[str, ...]
    most: tuple[str, ...]
    least: tuple[str, ...]
    over: str  # "cost more than", with a plural subject
    under: str
    how: str  # "how old is {v}"
    low: int
    high: int
    whole: bool = False


_NUMBERS: dict[str, Number] = {
    "price": Number(("price", "price", "cost"), ("most expensive", "priciest", "dearest"), ("cheapest", "least expensive"), "<cost more than|cost over|are more expensive than|are dearer than|are above>", "<cost less than|cost under|are cheaper than|are below>", "<how much is|what does|how expensive is> {v}<| cost>", 1, 300),
    "age": Number(("age", "age", "years"), ("oldest",), ("youngest",), "are <older than|over>", "are <younger than|under>", "how old is {v}", 5, 95, True),
    "height": Number(("height", "height_cm"), ("tallest", "highest"), ("shortest", "lowest"), "are <taller than|higher than|over>", "are <shorter than|lower than|under>", "how <tall|high> is {v}", 90, 900, True),
    "weight": Number(("weight", "kg", "weight_kg"), ("heaviest",), ("lightest",), "<weigh more than|are heavier than>", "<weigh less than|are lighter than>", "how <heavy is|much does> {v}<| weigh>", 1, 200),
    "score": Number(("score", "points", "grade"), ("best", "top", "highest scoring"), ("worst", "lowest scoring"), "<have more than|scored more than|got more than>", "<have less than|scored less than|got under>", "<how many points does {v} have|what did {v} get>", 1, 100, True),
    "salary": Number(("salary", "pay", "wage"), ("best paid", "highest paid"), ("worst paid", "lowest paid"), "<earn more than|make more than|earn over>", "<earn less than|make less than>", "<how much does {v} earn|what does {v} make>", 900, 9000, True),
    "distance": Number(("distance", "km", "length_km"), ("longest", "farthest"), ("shortest", "nearest"), "are <longer than|farther than|over>", "are <shorter than|under>", "how <long|far> is {v}", 1, 900),
    "population": Number(("population", "inhabitants"), ("biggest", "largest", "most populated"), ("smallest", "least populated"), "have more than", "have <less|fewer> than", "how <big is|many people live in> {v}", 500, 900000, True),
    "pages": Number(("pages", "length"), ("longest", "thickest"), ("shortest", "thinnest"), "<have more than|are longer than>", "<have fewer than|are shorter than>", "how <long is {v}|many pages does {v} have>", 40, 900, True),
    "speed": Number(("speed", "top_speed", "kmh"), ("fastest", "quickest"), ("slowest",), "are <faster than|quicker than>", "are slower than", "how fast is {v}", 10, 320, True),
    "year": Number(("year",), ("newest", "most recent", "latest"), ("oldest", "earliest"), "are <newer than|from after>", "are <older than|from before>", "<what year is {v} from|when is {v} from>", 1920, 2026, True),
    "rating": Number(("rating", "stars"), ("best rated", "best", "top rated"), ("worst rated", "worst"), "are rated <over|above|higher than>", "are rated <under|below|lower than>", "<what rating does {v} have|how good is {v}>", 1, 10),
    "temperature": Number(("temperature", "temp", "max_temp"), ("hottest", "warmest"), ("coldest", "coolest"), "are <warmer than|hotter than|over>", "are <colder than|under|below>", "how <warm|hot|cold> <is|was> {v}", 1, 42),
    "stock": Number(("qty", "quantity", "stock", "count"), ("most stocked", "most common"), ("scarcest", "least stocked"), "have more than", "have <less|fewer> than", "how many {v} are there", 1, 200, True),
    "amount": Number(("amount", "cost", "total"), ("biggest", "largest", "most expensive"), ("smallest", "cheapest"), "are <over|above|more than>", "are <under|below|less than>", "how <much is|high is> {v}", 2, 900),
    "calories": Number(("calories", "kcal"), ("most fattening", "highest calorie"), ("lightest", "lowest calorie"), "have <more than|over>", "have <less than|under>", "how many calories <are in|has> {v}", 20, 900, True),
}  # fmt: skip
_PLACES: dict[str, tuple[Callable[[Slots], str], str, str]] = {  # the column, its values, "live in", "lives in"
    "city": (Slots.city, "<live in|are from|are in>", "<lives in|is from|is in>"),
    "country": (Slots.country, "<live in|are from|come from>", "<lives in|is from|comes from>"),
    "color": (lambda s: s.fill("color"), "are", "is"),
    "status": (lambda s: s.pick(["open", "closed", "paid", "unpaid", "pending", "late", "done"]), "are", "is"),
    "category": (
        lambda s: s.pick(["food", "tools", "books", "toys", "office", "garden", "clothes"]),
        "are in",
        "is in",
    ),
    "department": (
        lambda s: s.pick(["sales", "it", "hr", "support", "legal"]),
        "<work in|are in>",
        "<works in|is in>",
    ),
    "team": (lambda s: s.pick(["red", "blue", "green", "gold"]), "<play for|are in>", "<plays for|is in>"),
}


@dataclass(frozen=True)
class _Subject:
    things: tuple[str, ...]  # singular, plural is with s
    keys: tuple[str, ...]
    make: Callable[[Slots], str]
    numbers: tuple[str, ...]
    places: tuple[str, ...]
    stems: tuple[str, ...]
    person: bool = False


_SUBJECTS = [
    _Subject(("item", "product", "article", "thing"), ("item", "product", "name", "article"), Slots.plain_word, ("price", "price", "stock", "weight", "rating"), ("category", "color", "status"), ("stock", "products", "inventory", "shop", "items", "prices", "warehouse", "catalog")),
    _Subject(("person", "person", "member"), ("name", "name", "person", "first_name"), Slots.first_name, ("age", "age", "height", "weight", "salary", "score"), ("city", "country", "department", "team"), ("people", "members", "friends", "staff", "family", "guests", "contacts"), True),
    _Subject(("employee", "worker"), ("name", "employee"), Slots.first_name, ("salary", "age"), ("department", "city"), ("employees", "staff", "payroll", "workers"), True),
    _Subject(("student", "player", "runner", "kid"), ("name", "student", "player"), Slots.first_name, ("score", "age", "height"), ("team", "city", "country"), ("students", "scores", "results", "class", "players", "grades", "team"), True),
    _Subject(("city", "town"), ("city", "name", "town", "place"), Slots.city, ("population", "temperature", "distance"), ("country",), ("cities", "towns", "places", "weather")),
    _Subject(("book",), ("title", "book", "name"), lambda s: s.title(), ("pages", "price", "year", "rating"), ("color", "status"), ("books", "library", "reading")),
    _Subject(("movie", "film"), ("title", "movie", "film"), lambda s: s.title(), ("rating", "year"), ("status", "country"), ("movies", "films", "watchlist")),
    _Subject(("car", "bike", "boat"), ("model", "name", "car"), lambda s: s.word().capitalize(), ("speed", "price", "year", "weight"), ("color", "status"), ("cars", "vehicles", "garage")),
    _Subject(("expense", "bill", "invoice", "order"), ("item", "what", "name", "description"), Slots.plain_word, ("amount", "amount", "price"), ("category", "status"), ("expenses", "bills", "orders", "invoices", "spending", "costs")),
    _Subject(("dish", "meal", "snack"), ("dish", "food", "name", "meal"), Slots.plain_word, ("calories", "price", "rating"), ("status", "category"), ("menu", "food", "meals", "lunch")),
    _Subject(("trail", "route", "trip", "run"), ("name", "route", "trail"), lambda s: s.word().capitalize(), ("distance", "height"), ("status", "country"), ("trails", "routes", "trips", "hikes", "runs")),
    _Subject(("animal", "dog", "cat", "horse"), ("name", "animal"), Slots.first_name, ("age", "weight", "speed"), ("color",), ("animals", "pets", "zoo")),
]  # fmt: skip


def _plural(word: str) -> str:
    if word == "person":
        return "people"
    if word.endswith("y") and word[-2] not in "aeo":
        return word[:-1] + "ies"
    return word + ("es" if word.endswith(("s", "sh", "ch")) else "s")


@dataclass
class _Table:
    path: str
    subject: _Subject
    rows: list[dict[str, str]]
    key: str
    number: str  # the column's name
    about: Number
    place: str | None
    load: str  # code that gives rows
    is_json: bool

    def cast(self, column: str, whole: bool) -> str:
        return f"r[{column!r}]" if self.is_json else f"{'int' if whole else 'float'}(r[{column!r}])"


def _path(scene: Scene, stems: tuple[str, ...], extension: str) -> str:
    slots = scene.slots
    stem = slots.pick(stems)
    if slots.chance(0.3):
        stem = slots.pick([f"{stem}_{slots.integer(1, 30)}", f"my_{stem}", slots.word().lower(), f"{stem}2024"])
    folder = f"{slots.directory()}/" if slots.chance(0.08) else ""
    path = f"{folder}{stem}.{extension}"
    if scene.world.workspace.has(path) or scene.world.workspace.has(path.split("/")[0]):
        return scene.fresh_path(extension, 0.1)
    return path


def _value(slots: Slots, about: Number) -> str:
    if about.whole:
        return str(slots.rng.randint(about.low, about.high))
    number = slots.rng.uniform(about.low, about.high)
    return slots.pick([f"{number:.2f}", f"{number:.1f}", f"{number:.0f}"])


def _table(scene: Scene) -> _Table:
    """A small table about something, with different values in its number column."""
    slots = scene.slots
    subject = slots.pick(_SUBJECTS)
    kind = slots.pick(subject.numbers)
    about = _NUMBERS[kind]
    key, number = slots.pick(subject.keys), slots.pick(about.names)
    place = slots.pick(subject.places) if slots.chance(0.6) else None
    if place == key or number == key:
        return _table(scene)
    count = slots.rng.randint(3, 9)
    names = list(dict.fromkeys(subject.make(slots).replace(",", "") for _ in range(count)))
    values: list[str] = []
    while len(values) < len(names):
        value = _value(slots, about)
        if value not in values and float(value) not in map(float, values):
            values.append(value)
    places = [_PLACES[place][0](slots).replace(",", "") for _ in range(3)] if place else []
    extra = slots.pick(["id", "note", "code"]) if slots.chance(0.15) else None
    columns = [key, number, *([place] if place else []), *([extra] if extra else [])]
    if slots.chance(0.3):
        slots.rng.shuffle(columns)
    rows = []
    for name, value in zip(names, values, strict=True):
        row = {key: name, number: value}
        if place:
            row[place] = slots.pick(places)
        if extra:
            row[extra] = slots.ident()
        rows.append({column: row[column] for column in columns})
    is_json = slots.chance(0.28)
    path = _path(scene, subject.stems, "json" if is_json else "csv")
    table = _Table(path, subject, rows, key, number, about, place, "", is_json)
    table.load = _store(scene, path, rows, {number: about.whole}, is_json)
    scene.other_files(0, 3)
    return table


def _store(scene: Scene, path: str, rows: list[dict[str, str]], numbers: dict[str, bool], is_json: bool) -> str:
    """Write the rows and give the code that loads them. ``numbers`` says which columns are whole."""
    slots = scene.slots
    if not is_json:
        text = "\n".join([",".join(rows[0]), *(",".join(row.values()) for row in rows)])
        scene.world.workspace.put(path, text + slots.pick(["\n", "\n", ""]))
        return f"import csv\nwith open({path!r}) as f:\n    rows = list(csv.DictReader(f))\n"

    def typed(column: str, value: str) -> object:
        if column not in numbers:
            return value
        return float(value) if "." in value else int(value)

    data: object = [{column: typed(column, value) for column, value in row.items()} for row in rows]
    wrap = slots.pick(["items", "data", "rows", "entries"]) if slots.chance(0.12) else ""
    scene.world.workspace.put(path, json.dumps({wrap: data} if wrap else data, indent=slots.pick([2, 2, None])))
    return f"import json\nwith open({path!r}) as f:\n    rows = json.load(f){f'[{wrap!r}]' if wrap else ''}\n"


def _same(value: str) -> str:
    """A number as JSON and floats give it."""
    number = float(value)
    return str(int(number)) if number == int(number) else str(number)


def casual_table(scene: Scene) -> Task:
    """One question about a table, asked in passing."""
    slots, say = scene.slots, scene.say
    table = _table(scene)
    about, person = table.about, table.subject.person
    kind = slots.rng.choices(
        ["best", "worst", "most", "least", "count_over", "count_under", "which_over", "which_under", "which_where",
         "count_where", "average", "total", "rows", "of_row"],
        [7, 5, 2.5, 1.5, 2, 1.5, 2, 1.5, 3, 2, 2.5, 2, 2, 3],
    )[0]  # fmt: skip
    if kind.endswith("where") and not table.place:
        kind = "best"
    row = slots.pick(table.rows)
    thing = slots.pick(table.subject.things)
    ordered = sorted(float(r[table.number]) for r in table.rows)
    at = slots.rng.randint(0, len(ordered) - 2)
    threshold = str(int((ordered[at] + ordered[at + 1]) / 2))
    if slots.chance(0.7) and about.high > 60:
        threshold = str(int(threshold) // 10 * 10 or 10)
    label = table.number.replace("_", " ")
    spoken = row[table.key].lower() if person and slots.chance(0.5) else row[table.key]
    place = row[table.place] if table.place else ""
    verb, verbs = _PLACES[table.place][1:] if table.place else ("", "")
    how = say.vary(about.how)
    values = {
        "p": table.path, "thing": thing, "things": _plural(thing), "c": label, "n": threshold, "v": spoken,
        "over": say.vary(about.over), "under": say.vary(about.under), "how": how.replace("{v}", "that"),
        "how_one": how.replace("{v}", spoken), "g": table.place or "",
        "most": slots.pick(about.most if kind == "best" else about.least),
    }  # fmt: skip
    if person:
        values["how"] = how.replace("is {v}", "are they").replace("does {v}", "do they").replace("{v}", "they")
    if kind.endswith("where"):
        values |= {
            "v": place.lower() if slots.chance(0.5) else place,
            "verb": say.vary(verb),
            "verbs": say.vary(verbs),
        }
    intention = {
        "best": "best_person" if person and slots.chance(0.75) else "best", "most": "has_most", "least": "has_least",
        "which_where": "who_where" if person and slots.chance(0.7) else "which_where",
    }  # fmt: skip
    intention["worst"] = intention["best"]
    request = say.request(f"tables.{intention.get(kind, kind)}", values)
    column = table.cast(table.number, about.whole)
    names = f"r[{table.key!r}] for r in rows if "
    same = f"r[{table.place!r}] == {place!r}"
    last = {
        "best": f"max(rows, key=lambda r: {column})", "most": f"max(rows, key=lambda r: {column})",
        "worst": f"min(rows, key=lambda r: {column})", "least": f"min(rows, key=lambda r: {column})",
        "count_over": f"len([r for r in rows if {column} > {threshold}])",
        "count_under": f"len([r for r in rows if {column} < {threshold}])",
        "which_over": f"[{names}{column} > {threshold}]", "which_under": f"[{names}{column} < {threshold}]",
        "which_where": f"[{names}{same}]", "count_where": f"len([r for r in rows if {same}])",
        "average": f"round(sum({column} for r in rows) / len(rows), 2)",
        "total": f"sum({column} for r in rows)" if about.whole else f"round(sum({column} for r in rows), 2)",
        "rows": "len(rows)", "of_row": "",
    }[kind]  # fmt: skip

    def script() -> Script:
        yield turn("read_text_file", {"path": table.path})
        if kind == "of_row":
            value = _same(row[table.number]) if table.is_json else row[table.number]
            return Answer(f"The {label} of {row[table.key]} is {value}.", (value,))
        (result,) = yield turn("python", {"code": shown_code(slots, table.load + last)})
        if kind in ("best", "worst", "most", "least"):
            top = kind in ("best", "most")
            found = (max if top else min)(table.rows, key=lambda r: float(r[table.number]))
            value = _same(found[table.number]) if table.is_json else found[table.number]
            if kind in ("most", "least"):
                text = f"{found[table.key]} has the {'highest' if top else 'lowest'} {label}: {value}."
            else:
                text = f"{found[table.key]} is the {values['most']}, with {label} {value}."
            return Answer(text, (found[table.key], value))
        shown = shown_result(result)
        if kind.startswith("which"):
            if shown == "none":
                return Answer(f"No {thing} in {table.path} fits.", ("no ",))
            return Answer(f"{shown}.", tuple(shown.split(", ")))
        if kind in ("average", "total"):
            return Answer(f"The {kind} {label} is {shown}.", (shown,))
        if kind == "rows":
            return Answer(f"There are {shown} {_plural(thing)} in {table.path}.", (shown,))
        return Answer(f"{shown} {_plural(thing)}.", (shown,))

    return single("csv", request, script, ("read_text_file", "python"))


def product_total(scene: Scene) -> Task:
    """Price times quantity, added up; prices and quantities sometimes in two files."""
    slots = scene.slots
    key = slots.pick(["item", "product", "name", "article"])
    price, count = (
        slots.pick(["price", "price", "unit_price", "cost", "rate"]),
        slots.pick(["quantity", "qty", "amount", "count", "units", "pieces"]),
    )
    names = list(dict.fromkeys(slots.plain_word().replace(",", "") for _ in range(slots.rng.randint(2, 8))))
    prices = [slots.pick([f"{slots.rng.uniform(0.5, 90):.2f}", f"{slots.rng.uniform(0.5, 90):.1f}", str(slots.rng.randint(1, 90))]) for _ in names]  # fmt: skip
    counts = [str(slots.rng.randint(1, 40)) for _ in names]
    join = slots.chance(0.25)
    is_json = not join and slots.chance(0.45)
    order = [key, price, count] if slots.chance(0.6) else [key, count, price]
    if join:
        path = _path(scene, ("prices", "pricelist", "catalog"), "csv")
        second = _path(scene, ("order", "orders", "basket", "cart"), "csv")
        _store(scene, path, [{key: n, price: p} for n, p in zip(names, prices, strict=True)], {}, False)
        chosen = slots.rng.sample(list(zip(names, counts, strict=True)), slots.rng.randint(1, len(names)))
        _store(scene, second, [{key: n, count: c} for n, c in chosen], {}, False)
        code = (
            f"import csv\nwith open({path!r}) as f:\n    prices = {{r[{key!r}]: float(r[{price!r}]) for r in csv.DictReader(f)}}\n"
            f"with open({second!r}) as f:\n    rows = list(csv.DictReader(f))\n"
            f"round(sum(prices[r[{key!r}]] * int(r[{count!r}]) for r in rows), 2)"
        )
        request = scene.say.request("tables.join", {"p": path, "q": second})
    else:
        path = second = _path(scene, ("order", "stock", "cart", "invoice", "inventory", "basket"), "json" if is_json else "csv")  # fmt: skip
        rows = [{key: n, price: p, count: c} for n, p, c in zip(names, prices, counts, strict=True)]
        numbers = {price: False, count: True}
        load = _store(scene, path, [{c: row[c] for c in order} for row in rows], numbers, is_json)
        one = f"r[{price!r}] * r[{count!r}]" if is_json else f"float(r[{price!r}]) * int(r[{count!r}])"
        code = f"{load}round(sum({one} for r in rows), 2)"
        a, b = (price, count) if slots.chance(0.7) else (count, price)
        spoken = {"a": a.replace("_", " "), "b": b.replace("_", " ")}
        if slots.chance(0.35):
            spoken = {"a": "price", "b": "quantity"}
        request = scene.say.request("tables.product", {"p": path, **spoken})
    scene.other_files(0, 2)

    def script() -> Script:
        if join:
            yield Turn((Call("read_text_file", {"path": path}), Call("read_text_file", {"path": second})))
        else:
            yield turn("read_text_file", {"path": path})
        (result,) = yield turn("python", {"code": shown_code(slots, code)})
        return Answer(f"The total is {shown_result(result)}.", (shown_result(result),))

    return single("csv", request, script, ("read_text_file", "python"))
