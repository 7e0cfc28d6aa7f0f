"""The casual evaluation sets and their scorer: every case can be passed, none by doing or saying nothing."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

EVAL_DATA = Path(__file__).parents[2] / "examples" / "train_pocket" / "eval_data"


def _load_score() -> ModuleType:
    # Examples are scripts, not a package: load the file as a script next to it would.
    spec = importlib.util.spec_from_file_location("casual_score", EVAL_DATA / "score.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


score = _load_score()
SETS = {name: score.load(EVAL_DATA / f"{name}.jsonl") for name in ("casual", "casual_2", "casual_3")}
CASES = [pytest.param(case, id=f"{name}-{case.id}") for name, cases in SETS.items() for case in cases]


def _case(expect, files=None):
    rules = {path: score.FileRule(**rule) for path, rule in expect.get("files", {}).items()}
    return score.Case("x", "p", files or {}, score.Expect(**expect | {"files": rules}))


def _judge_answer(answer, **expect):
    return score.passed(_case(expect), answer, [], {})


def _reference(case):
    """An answer and a workspace made from the conditions themselves."""
    expect = case.expect
    parts = [*expect.answer_contains, *expect.answer_contains_any[:1], *expect.answer_in_order]
    answer = ", ".join(part.removeprefix("~") for part in parts) + (" not there" if expect.answer_denies else "")
    workspace = {path: text for path, text in case.files.items() if path not in expect.absent_files}
    for path, rule in expect.files.items():
        workspace[path] = rule.equals if rule.equals is not None else " ".join(rule.contains)
    workspace.update({f"{path}/": "" for path in expect.directories})
    return answer or "Done.", workspace


@pytest.mark.parametrize("cases", SETS.values(), ids=SETS)
def test_a_set_has_sixty_cases_of_the_planned_kinds(cases):
    kinds = [case.id.split("-")[0] for case in cases]
    assert {kind: kinds.count(kind) for kind in kinds} == {"calc": 20, "file": 18, "mix": 12, "gone": 5, "chat": 5}


def test_no_prompt_is_in_two_sets():
    prompts = [case.prompt.lower() for cases in SETS.values() for case in cases]
    assert len(set(prompts)) == len(prompts)


@pytest.mark.parametrize("case", CASES)
def test_each_case_can_be_passed(case):
    answer, workspace = _reference(case)
    assert score.passed(case, answer, [], workspace) is None


@pytest.mark.parametrize("case", CASES)
def test_no_case_passes_by_repeating_the_prompt_after_a_needless_call(case):
    assert score.passed(case, case.prompt, ["python"], case.files) is not None


@pytest.mark.parametrize("case", CASES)
def test_no_case_passes_with_an_empty_answer(case):
    _, workspace = _reference(case)
    assert score.passed(case, " \n", [], workspace) == "the answer is empty"


@pytest.mark.parametrize(
    ("item", "answer"),
    [
        ("1234", "That is 1,234."),
        ("1234", "**1234**"),
        ("1234", "1234.00 in total"),
        ("1234", "1\u202f234 steps"),
        ("1234567", "1'234'567"),
        ("65.76", "$65.76."),
        ("61.40", "61.4"),
        ("17.8", "(17.80)"),
        ("4", "There are four errors"),
        ("-5", "x=−5"),
        ("64", "2**64"),
        ("05", "2031-05-14"),
        ("0.5", "it is .5"),
        ("~42.2", "42.164813"),
        ("~42.2", "about 42.2km"),
        ("14:15", "at 14:15."),
        ("Buy Milk", "buy\n  `milk`"),
        ("can't", "I can’t"),
    ],
)
def test_equal_values_match_however_they_are_written(item, answer):
    assert _judge_answer(answer, answer_contains=[item]) is None


@pytest.mark.parametrize(
    ("item", "answer"),
    [
        ("1234", "12345 or 234"),
        ("234", "1,234"),
        ("17.8", "17.85"),
        ("4", "14, 4.5 and v4"),
        ("5", "-5"),
        ("~42.2", "42.3 or 42"),
        ("14:15", "14:150"),
        ("milk", "mil k"),
    ],
)
def test_other_values_do_not_match(item, answer):
    assert _judge_answer(answer, answer_contains=[item]) == f"the answer lacks {item!r}"


def test_any_needs_one_and_order_needs_all_in_sequence():
    assert _judge_answer("on Sunday", answer_contains_any=["monday", "sunday"]) is None
    assert _judge_answer("on Friday", answer_contains_any=["monday", "sunday"]) is not None
    assert _judge_answer("42, 7, 19 sorted: 7, 19, 42", answer_in_order=["7", "19", "42"]) is None
    assert _judge_answer("19, 7, 42", answer_in_order=["7", "19", "42"]) is not None


@pytest.mark.parametrize("answer", ["There is no budget.txt.", "It doesn't exist", "it isn’t there", "File not found"])
def test_a_denial_is_recognised(answer):
    assert _judge_answer(answer, answer_denies=True) is None


def test_a_denial_is_not_found_inside_other_words():
    assert _judge_answer("Notes: another known note.", answer_denies=True) is not None


def test_files_are_compared_without_the_spaces_at_line_ends():
    case = _case({"files": {"a.txt": {"equals": "one\ntwo\n"}}})
    assert score.passed(case, "Done.", [], {"a.txt": "one  \r\ntwo"}) is None
    assert score.passed(case, "Done.", [], {"a.txt": "two\none\n"}) is not None
    assert score.passed(case, "Done.", [], {}) == "there is no file a.txt"


def test_a_file_may_hold_an_expected_number_in_any_spelling():
    case = _case({"files": {"sum.txt": {"contains": ["1234.5"]}}})
    assert score.passed(case, "Done.", [], {"sum.txt": "Total: 1,234.50\n"}) is None
    assert score.passed(case, "Done.", [], {"sum.txt": "Total: 1235\n"}) == "sum.txt lacks '1234.5'"


def test_files_that_a_case_does_not_speak_of_must_stay():
    case = _case({"answer_contains": ["3"]}, files={"a.txt": "1\n2\n"})
    assert score.passed(case, "3", ["python"], {"a.txt": "1\n2\n", "new.py": "print(3)"}) is None
    assert score.passed(case, "3", ["python"], {"a.txt": "3\n"}) == "a.txt was changed and should not be"
    assert score.passed(case, "3", ["python"], {}) == "a.txt was changed and should not be"


def test_a_directory_counts_when_empty_or_filled_and_a_file_does_not():
    case = _case({"directories": ["photos"]})
    assert score.passed(case, "Done.", [], {"photos/": ""}) is None
    assert score.passed(case, "Done.", [], {"photos/a.txt": ""}) is None
    assert score.passed(case, "Done.", [], {"photos": ""}) == "there is no directory photos"


def test_a_needless_tool_call_fails_a_chat():
    assert score.passed(_case({"no_tool": True}), "Hello!", [], {}) is None
    assert score.passed(_case({"no_tool": True}), "Hello!", ["python"], {}) == "called python where no tool helps"


@pytest.mark.parametrize(
    "broken",
    [
        "{",
        "[]",
        '{"id": "a", "prompt": "p", "files": {}}',
        '{"id": "a", "prompt": "p", "files": {}, "expect": {}}',
        '{"id": "a", "prompt": "p", "files": {}, "expect": {"answer_has": ["x"]}}',
        '{"id": "a", "prompt": "p", "files": {}, "expect": {"answer_contains": "x"}}',
        '{"id": "a", "prompt": "p", "files": {}, "expect": {"files": {"a": {}}}}',
    ],
)
def test_a_broken_line_is_named(tmp_path, broken):
    path = tmp_path / "set.jsonl"
    path.write_text(f"\n{broken}\n")
    with pytest.raises(score.CaseError, match=r"set\.jsonl:2"):
        score.load(path)


def test_an_id_used_twice_is_refused(tmp_path):
    line = json.dumps({"id": "a", "prompt": "p", "files": {}, "expect": {"no_tool": True}})
    path = tmp_path / "set.jsonl"
    path.write_text(f"{line}\n{line}\n")
    with pytest.raises(score.CaseError, match="repeats the id a"):
        score.load(path)
