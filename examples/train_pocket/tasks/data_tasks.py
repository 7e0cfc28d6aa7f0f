"""Tasks that combine files and Python: tables, numbers, texts, JSON.

The script looks at the file first, so that column names are copied from its header, and then computes on the file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass

from ..episode import Answer, Script, Task, single, turn
from ..phrasing import fill
from ..scene import Scene
from ..slots import Slots, names
from .python_tasks import answer_for, draw_operation, shown_code, shown_result


@dataclass
class Table:
    """A CSV file. ``key`` is the column that names a row, ``group`` one with repeated values, ``number`` a numeric one."""

    path: str
    columns: list[str]
    rows: list[dict[str, str]]
    key: str
    group: str
    number: str
    whole: bool


_KEYS: dict[str, Callable[[Slots], str]] = {
    "name": Slots.first_name, "item": Slots.plain_word, "product": lambda s: s.fill("product"), "city": Slots.city,
    "employee": Slots.person, "date": Slots.date, "id": Slots.ident, "player": Slots.first_name, "country": Slots.country,
    "student": Slots.first_name, "description": lambda s: s.phrase(1, 2), "customer": Slots.last_name, "team": lambda s: s.fill("team"),
    "month": lambda s: s.fill("month"), "title": Slots.title, "sku": Slots.ident,
}  # fmt: skip
_GROUPS: dict[str, Callable[[Slots], str]] = {
    "category": lambda s: s.pick(["food", "travel", "office", "rent", "books", "toys", "health", "fun"]),
    "region": lambda s: s.pick(["north", "south", "east", "west"]), "department": lambda s: s.pick(["sales", "it", "hr", "support", "legal"]),
    "color": lambda s: s.fill("color"), "status": lambda s: s.pick(["open", "closed", "paid", "pending", "shipped"]),
    "country": Slots.country, "type": Slots.noun, "store": Slots.city, "class": lambda s: s.pick(["A", "B", "C"]),
}  # fmt: skip
_NUMBERS = ["amount", "amount", "amount", "price", "quantity", "score", "cost", "total", "age", "sales", "salary", "points", "hours",
            "weight", "units", "value", "distance", "population", "stock", "revenue", "expense", "fee", "rating", "calories"]  # fmt: skip


def _table(scene: Scene, *, stem: str | None = None, number: str | None = None) -> Table:
    slots = scene.slots
    path = f"{stem}.csv" if stem else scene.fresh_path("csv", 0.25)
    if scene.world.workspace.has(path):
        path = scene.fresh_path("csv", 0.25)
    key, group = slots.pick(list(_KEYS)), slots.pick(list(_GROUPS))
    number = number or (slots.pick(_NUMBERS) if slots.chance(0.8) else slots.word().lower())
    if len({key, group, number}) < 3:
        return _table(scene, stem=stem, number=number)
    extra = [c for c in [slots.pick(_NUMBERS)] if c not in (key, group, number) and slots.chance(0.35)]
    columns = [key, number, *([group] if slots.chance(0.75) else []), *extra]
    slots.rng.shuffle(columns)
    capitals = slots.chance(0.2)
    whole = slots.chance(0.5)
    groups = [_GROUPS[group](slots) for _ in range(3)]
    top = slots.pick([10, 100, 100, 1000, 10000])
    make: dict[str, Callable[[], str]] = {
        key: lambda: _KEYS[key](slots).replace(",", ""),
        group: lambda: slots.pick(groups),
        **{c: lambda: str(slots.rng.randint(1, top)) for c in extra},
        number: lambda: str(slots.rng.randint(1, top)) if whole else f"{slots.rng.uniform(1, top):.2f}",
    }
    rows = [
        {column: make[column]() for column in columns} for _ in range(slots.pick([3, 4, 4, 5, 5, 6, 7, 8, 10, 12, 15]))
    ]
    if capitals:
        rename = {column: column.capitalize() for column in columns}
        rows = [{rename[c]: v for c, v in row.items()} for row in rows]
        columns = [rename[c] for c in columns]
        key, group, number = key.capitalize(), group.capitalize(), number.capitalize()
    text = "\n".join([",".join(columns), *(",".join(row.values()) for row in rows)]) + slots.pick(["", "\n", "\n"])
    scene.world.workspace.put(path, text)
    return Table(path, columns, rows, key, group, number, whole)


def _load(path: str) -> str:
    return f"import csv\nwith open({path!r}) as f:\n    rows = list(csv.DictReader(f))\n"


def _cast(table: Table) -> str:
    return "int" if table.whole else "float"


def _rounded(table: Table, expression: str) -> str:
    return expression if table.whole else f"round({expression}, 2)"


def table_question(scene: Scene) -> Task:
    """A question about a CSV file."""
    slots = scene.slots
    kind = slots.rng.choices(
        [
            "sum",
            "expenses",
            "mean",
            "max",
            "min",
            "argmax",
            "argmin",
            "count",
            "count_where",
            "sum_where",
            "lookup",
            "filter",
            "sort",
            "group",
            "columns",
        ],
        [6, 2.5, 3, 2, 1.5, 3, 1.5, 2, 2.5, 2.5, 2.5, 1.5, 1, 1.5, 0.7],
    )[0]
    if kind == "expenses":
        table = _table(
            scene,
            stem=slots.pick(["expenses", "spending", "costs", "expenses_" + slots.fill("month").lower(), "budget"]),
            number=slots.pick(["amount", "amount", "price", "cost"]),
        )
    elif kind == "sum" and slots.chance(0.4):
        table = _table(
            scene, stem=slots.pick(["expenses", "sales", "orders", "invoices", "payments", "donations", "inventory"])
        )
    else:
        table = _table(scene)
    if kind in ("count_where", "sum_where", "group") and table.group not in table.columns:
        kind = "sum"
    unique = len({row[table.key] for row in table.rows}) == len(table.rows) and len(
        {row[table.number] for row in table.rows}
    ) == len(table.rows)
    if kind in ("lookup", "argmax", "argmin", "filter", "sort") and not unique:
        kind = "mean"
    scene.other_files(0, 3)
    n, k, g, cast = table.number, table.key, table.group, _cast(table)
    row = slots.pick(table.rows)
    threshold = str(sorted(int(float(r[n])) for r in table.rows)[len(table.rows) // 2])
    values = {"p": table.path, "c": n.lower() if slots.chance(0.6) else n, "g": k, "v": row[k], "n": threshold}
    column = f"{cast}(r[{n!r}])"
    every = f"[{column} for r in rows]"
    lead = {"sum": f"The total {n} is", "expenses": "The total is", "mean": f"The average {n} is", "max": f"The highest {n} is",
            "min": f"The lowest {n} is", "sum_where": f"The total {n} is"}  # fmt: skip
    wordings = {"sum": "data.sum_column", "expenses": "data.expenses", "mean": "data.mean_column", "max": "data.max_column", "min": "data.min_column",
                "argmax": "data.argmax", "argmin": "data.argmin", "count": "data.count_rows", "count_where": "data.count_where",
                "sum_where": "data.sum_where", "lookup": "data.lookup", "filter": "data.filter", "sort": "data.sort_by",
                "group": "data.group_sum", "columns": "data.columns"}[kind]  # fmt: skip
    if kind == "sum" and not n.endswith("s") and slots.chance(0.45):
        wordings = "data.sum_plural"
    if kind in ("count_where", "sum_where"):
        values |= {"g": g, "v": row[g]}
    if kind == "group":
        values["g"] = g
    last = {
        "sum": _rounded(table, f"sum({column} for r in rows)"),
        "expenses": _rounded(table, f"sum({column} for r in rows)"),
        "mean": f"round(sum({column} for r in rows) / len(rows), 2)",
        "max": f"max({every})",
        "min": f"min({every})",
        "argmax": f"max(rows, key=lambda r: {column})",
        "argmin": f"min(rows, key=lambda r: {column})",
        "count": "len(rows)",
        "count_where": f"len([r for r in rows if r[{g!r}] == {row.get(g, '')!r}])",
        "sum_where": _rounded(table, f"sum({column} for r in rows if r[{g!r}] == {row.get(g, '')!r})"),
        "filter": f"[r[{k!r}] for r in rows if {column} > {threshold}]",
        "sort": f"[r[{k!r}] for r in sorted(rows, key=lambda r: {column})]",
    }.get(kind, "")
    request = scene.say.request(wordings, values)

    def script() -> Script:
        yield turn("read_text_file", {"path": table.path})
        if kind == "columns":
            return Answer(f"The columns of {table.path} are {', '.join(table.columns)}.", tuple(table.columns))
        if kind == "lookup":
            return Answer(f"The {n} of {row[k]} is {row[n]}.", (row[n],))
        if kind == "group":
            code = (
                _load(table.path)
                + f"totals = {{}}\nfor r in rows:\n    totals[r[{g!r}]] = totals.get(r[{g!r}], 0) + {column}\nfor name in totals:\n    print(name, {_rounded(table, 'totals[name]')})"
            )
            (result,) = yield turn("python", {"code": code})
            return Answer(result, tuple(line.rsplit(" ", 1)[1] for line in result.split("\n")))
        (result,) = yield turn("python", {"code": shown_code(slots, _load(table.path) + last)})
        if kind in ("argmax", "argmin"):
            best = (max if kind == "argmax" else min)(table.rows, key=lambda r: float(r[n]))
            return Answer(
                f"{best[k]} has the {'highest' if kind == 'argmax' else 'lowest'} {n}: {best[n]}.", (best[k],)
            )
        shown = shown_result(result)
        if kind in ("filter", "sort"):
            return Answer(f"{shown}.", tuple(shown.split(", ")) if shown != "none" else ("none|no ",))
        if kind == "count":
            return Answer(f"{table.path} has {shown} rows.", (shown,))
        if kind == "count_where":
            return Answer(f"{shown} rows have {g} {row[g]}.", (shown,))
        return Answer(f"{lead[kind]} {shown}.", (shown,))

    return single("csv", request, script, ("read_text_file", "python"))


def numbers_file(scene: Scene) -> Task:
    """A text file with numbers, one on a line, sometimes with words beside them."""
    slots = scene.slots
    kind = slots.rng.choices(["sum", "mean", "max", "min", "sort", "median", "expenses"], [5, 3, 2, 2, 1, 1, 2.5])[0]
    labelled = slots.chance(0.4) or kind == "expenses"
    path = scene.fresh_path("txt", 0.25)
    if kind == "expenses":
        path = (
            slots.pick(["expenses", "spending", "costs", "bills", "budget"])
            + slots.pick(["", "_" + slots.fill("month").lower(), str(slots.integer(1, 30))])
            + ".txt"
        )
        if scene.world.workspace.has(path):
            return table_question(scene)
    whole = slots.chance(0.55)
    top = slots.pick([10, 100, 1000, 10000])
    numbers = [
        str(slots.rng.randint(1, top)) if whole else f"{slots.rng.uniform(0.5, top):.2f}"
        for _ in range(slots.rng.randint(3, 12))
    ]
    style = (
        slots.pick(["{w}: {n}", "{w} {n}", "{w}, {n}", "- {w} {n}", "{w} = {n}", "{n} {w}", "{w}: ${n}"])
        if labelled
        else slots.pick(["{n}", "{n}", "{n}"])
    )
    lines = [fill(style, {"w": slots.plain_word(), "n": number}) for number in numbers]
    separator = "\n" if labelled else slots.pick(["\n", "\n", "\n", " ", ", "])
    scene.world.workspace.put(path, separator.join(lines) + slots.pick(["", "\n"]))
    scene.other_files(0, 2)
    literal = "[" + ", ".join(number if whole else str(float(number)) for number in numbers) + "]"
    from_file = not labelled and separator == "\n"
    convert = "int" if whole else "float"
    read = f"x = [{convert}(line) for line in open({path!r}) if line.strip()]" if from_file else f"x = {literal}"
    last = {
        "sum": "sum(x)",
        "expenses": "sum(x)",
        "mean": "round(sum(x) / len(x), 2)",
        "max": "max(x)",
        "min": "min(x)",
        "sort": "sorted(x)",
        "median": "round(statistics.median(x), 2)",
    }[kind]
    if kind in ("sum", "expenses") and not whole:
        last = "round(sum(x), 2)"
    head = "import statistics\n" if kind == "median" else ""
    word = {
        "sum": "sum",
        "expenses": "total",
        "mean": "average",
        "max": "largest number",
        "min": "smallest number",
        "sort": "sorted list",
        "median": "median",
    }[kind]
    wordings = "data.expenses" if kind == "expenses" else f"data.{kind}_numbers"

    def script() -> Script:
        yield turn("read_text_file", {"path": path})
        (result,) = yield turn("python", {"code": shown_code(slots, f"{head}{read}\n{last}")})
        shown = shown_result(result)
        return Answer(f"The {word} is {shown}.", (shown,) if kind != "sort" else tuple(shown.split(", ")))

    return single("numbers_file", scene.say.request(wordings, {"p": path}), script, ("read_text_file", "python"))


_TEXT_CODE = {
    "word_count": "len(open({p}).read().split())",
    "line_count": "len(open({p}).read().splitlines())",
    "char_count": "len(open({p}).read())",
    "common_word": "from collections import Counter\nCounter(re.findall(r'\\w+', open({p}).read().lower())).most_common(1)[0][0]",
    "longest_word": "max(re.findall(r'\\w+', open({p}).read()), key=len)",
    "longest_line": "max(open({p}).read().splitlines(), key=len)",
    "sort_lines": "sorted(open({p}).read().splitlines())",
    "word_occurrences": "re.findall(r'\\w+', open({p}).read().lower()).count({x})",
}
_TEXT_ANSWERS = {
    "word_count": "{p} has {r} words.", "line_count": "{p} has {r} lines.", "char_count": "{p} has {r} characters.",
    "common_word": "The most common word is {r}.", "longest_word": "The longest word is {r}.", "longest_line": "The longest line is: {r}",
    "sort_lines": "{r}", "word_occurrences": "{x} appears {r} times in {p}.",
}  # fmt: skip


def text_statistics(scene: Scene) -> Task:
    """Counting in a text file, by Python alone."""
    slots = scene.slots
    kind = slots.rng.choices(list(_TEXT_CODE), [3, 3, 1.5, 2, 1, 1, 1, 2.5])[0]
    path = scene.fresh_path(slots.pick(["txt", "txt", "md", "log"]), 0.25)
    pool = slots.words(slots.rng.randint(3, 12))
    if kind in ("longest_line", "sort_lines", "line_count"):
        text = "\n".join(slots.phrase(1, 5) for _ in range(slots.rng.randint(3, 10))) + slots.pick(["", "\n"])
    else:
        text = "\n".join(
            " ".join(
                slots.pick(pool) if slots.chance(0.7) else slots.word() for _ in range(slots.rng.randint(4, 14))
            ).capitalize()
            + "."
            for _ in range(slots.rng.randint(1, 6))
        )
    if kind == "common_word":
        text += "\n" + " ".join([pool[0]] * 4)
    scene.world.workspace.put(path, text)
    word = slots.pick(re.findall(r"\w+", text)).lower()
    code = fill(_TEXT_CODE[kind], {"p": repr(path), "x": repr(word)})
    if "re." in code:
        code = f"import re\n{code}"
    request = scene.say.request(
        f"data.{kind}",
        {"p": path, "x": slots.pick([word, f"'{word}'", f"the word {word}"]) if kind == "word_occurrences" else word},
    )

    def script() -> Script:
        (result,) = yield turn("python", {"code": shown_code(slots, code)})
        shown = shown_result(result)
        expect = tuple(text.splitlines()) if kind == "sort_lines" else (shown,)
        return Answer(fill(_TEXT_ANSWERS[kind], {"p": path, "x": word, "r": shown}), expect)

    return single("text_file", request, script, ("python",))


def json_file(scene: Scene) -> Task:
    """A value of a JSON file; or a computation over a JSON list."""
    slots = scene.slots
    path = scene.fresh_path("json", 0.25)
    if slots.chance(0.5):
        return _json_list(scene, path)
    keys = [
        slots.pick(
            [
                "host",
                "port",
                "name",
                "version",
                "debug",
                "user",
                "timeout",
                "mode",
                "level",
                "path",
                "size",
                slots.word().lower(),
            ]
        )
        for _ in range(slots.rng.randint(2, 6))
    ]
    data: dict[str, object] = {key: slots.pick([slots.word, slots.integer, slots.ident])() for key in keys}
    nested = slots.chance(0.4)
    section = slots.pick(["server", "database", "settings", "app", slots.word().lower()])
    key = slots.pick(list(data))
    scene.world.workspace.put(
        path,
        json.dumps({section: data, slots.rare(): slots.integer()} if nested else data, indent=slots.pick([None, 2, 4])),
    )
    spoken = (
        slots.pick([f"{section} {key}", f"{section}.{key}", f"{key} of the {section}", f"the {section} {key}"])
        if nested
        else slots.pick([key, f"the {key}", f"'{key}'"])
    )
    value = str(data[key])

    def script() -> Script:
        yield turn("read_text_file", {"path": path})
        return Answer(slots.pick([f"The {key} is {value}.", f"{key} is {value}."]), (value,))

    return single("json", scene.say.request("data.json_value", {"k": spoken, "p": path}), script, ("read_text_file",))


def _json_list(scene: Scene, path: str) -> Task:
    slots = scene.slots
    number = slots.pick(_NUMBERS)
    rows = [{"name": slots.first_name(), number: slots.rng.randint(1, 500)} for _ in range(slots.rng.randint(2, 6))]
    scene.world.workspace.put(path, json.dumps(rows, indent=slots.pick([None, 2])))
    kind = slots.pick(["sum", "mean", "max", "count"])
    wordings = {
        "sum": "data.sum_column",
        "mean": "data.mean_column",
        "max": "data.max_column",
        "count": "data.count_rows",
    }[kind]
    every = f"r[{number!r}] for r in rows"
    last = {
        "sum": f"sum({every})",
        "mean": f"round(sum({every}) / len(rows), 2)",
        "max": f"max({every})",
        "count": "len(rows)",
    }[kind]
    word = {
        "sum": f"total {number}",
        "mean": f"average {number}",
        "max": f"highest {number}",
        "count": "number of entries",
    }[kind]

    def script() -> Script:
        yield turn("read_text_file", {"path": path})
        (result,) = yield turn(
            "python",
            {"code": shown_code(slots, f"import json\nwith open({path!r}) as f:\n    rows = json.load(f)\n{last}")},
        )
        return Answer(f"The {word} is {shown_result(result)}.", (shown_result(result),))

    return single("json", scene.say.request(wordings, {"p": path, "c": number}), script, ("read_text_file", "python"))


def compute_and_save(scene: Scene) -> Task:
    """A computation whose result goes into a file."""
    slots = scene.slots
    suitable = {"expression", "add", "multiply", "power", "factorial", "fibonacci", "list_sum", "list_mean", "sum_range", "reverse", "upper",
                "primes_below", "days_between", "weekday", "percent_of", "gcd", "length", "list_sort", "fibonacci_list", "tip"}  # fmt: skip
    drawn = draw_operation(scene, lambda operation: operation.name in suitable)
    out = scene.fresh_path("txt", 0.15)
    phrases = drawn.operation.wordings
    clauses = [
        *phrases.imperatives.train,
        *(
            f"{verb} {phrase}"
            for phrase in phrases.noun_phrases.train[:3]
            for verb in ("compute", "calculate", "find", "work out")
        ),
    ]
    clause = fill(slots.pick(clauses), drawn.values)
    request = scene.say.request("data.save_computation", {"task": clause, "o": out})

    def script() -> Script:
        (result,) = yield turn("python", {"code": shown_code(slots, drawn.code)})
        shown = shown_result(result)
        yield turn("write_file", {"path": out, "content": shown + "\n"})
        spoken = answer_for(scene, drawn, result)
        return Answer(
            f"{spoken.text} I saved it to {out}.",
            spoken.expect,
            lambda world: (world.workspace.text(out) or "").strip() == shown.strip(),
        )

    return single("compute_save", request, script, ("python", "write_file"))


def column_and_save(scene: Scene) -> Task:
    """A table's figure, saved in another file: three calls."""
    slots = scene.slots
    table = _table(scene)
    kind, words = slots.pick(
        [
            ("sum", "the total {c} in {p}"),
            ("sum", "the sum of the {c} column in {p}"),
            ("mean", "the average {c} in {p}"),
            ("max", "the highest {c} in {p}"),
        ]
    )
    out = scene.fresh_path("txt", 0.1)
    column = f"{_cast(table)}(r[{table.number!r}])"
    last = {
        "sum": _rounded(table, f"sum({column} for r in rows)"),
        "mean": f"round(sum({column} for r in rows) / len(rows), 2)",
        "max": f"max({column} for r in rows)",
    }[kind]
    clause = (
        slots.pick(["compute", "calculate", "find", "work out", "get"])
        + " "
        + fill(words, {"c": table.number, "p": table.path})
    )

    def script() -> Script:
        yield turn("read_text_file", {"path": table.path})
        (result,) = yield turn("python", {"code": shown_code(slots, _load(table.path) + last)})
        shown = shown_result(result)
        yield turn("write_file", {"path": out, "content": shown + "\n"})
        word = {"sum": "total", "mean": "average", "max": "highest"}[kind]
        return Answer(
            f"The {word} {table.number} is {shown}. I saved it to {out}.",
            (shown,),
            lambda world: (world.workspace.text(out) or "").strip() == shown,
        )

    return single(
        "csv_save",
        scene.say.request("data.save_computation", {"task": clause, "o": out}),
        script,
        ("read_text_file", "python", "write_file"),
    )


def count_list(scene: Scene) -> Task:
    slots = scene.slots
    path = f"{slots.pick(['shopping', 'todo', 'guests', 'books', 'packing', slots.word()])}.{slots.pick(['txt', 'md'])}"
    if scene.world.workspace.has(path):
        return text_statistics(scene)
    items = [slots.pick(names("noun")) for _ in range(slots.rng.randint(2, 14))]
    scene.world.workspace.put(path, "\n".join(f"- {item}" for item in items) + "\n")

    def script() -> Script:
        code = f"len([line for line in open({path!r}) if line.strip()])"
        (result,) = yield turn("python", {"code": shown_code(slots, code)})
        return Answer(f"{path} has {result} items.", (result,))

    return single("text_file", scene.say.request("data.count_items", {"p": path}), script, ("python",))
