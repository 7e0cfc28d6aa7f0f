"""The acting browser as models see it: names and arguments of the Playwright MCP server, the few that agents need.

The accessibility snapshot of a page names what can be acted on: ``[ref=e8]``; ``target`` is such a name.
"""

from __future__ import annotations

from ...spec import Annotations, JsonObject, ToolSpec, parameters

_READS = Annotations(read_only=True, destructive=False, open_world=True)
_ACTS = Annotations(read_only=False, destructive=True, open_world=True)
_TARGET: JsonObject = {"type": "string", "description": "Reference of an element in the snapshot, such as e8"}
_ELEMENT: JsonObject = {"type": "string", "description": "What the element is, in words"}


def _spec(
    name: str, description: str, properties: dict[str, JsonObject], required: list[str], *, acts: bool = False
) -> ToolSpec:
    return ToolSpec(f"browser_{name}", description, parameters(properties, required), _ACTS if acts else _READS)


NAVIGATE = _spec("navigate", "Open a URL in the browser.", {"url": {"type": "string"}}, ["url"])
NAVIGATE_BACK = _spec("navigate_back", "Go back to the previous page.", {}, [])
SNAPSHOT = _spec(
    "snapshot",
    "Show the page as an accessibility tree with references to act on.",
    {
        "target": {**_TARGET, "description": "Show only this element"},
        "depth": {"type": "integer", "minimum": 1, "maximum": 50, "description": "How many levels of the tree"},
    },
    [],
)
FIND = _spec(
    "find",
    "Find text in the page's snapshot: matching lines with their references.",
    {"text": {"type": "string", "minLength": 1, "maxLength": 200, "description": "Text, whatever its case"}},
    ["text"],
)
CLICK = _spec(
    "click",
    "Click an element.",
    {
        "element": _ELEMENT,
        "target": _TARGET,
        "doubleClick": {"type": "boolean"},
        "button": {"type": "string", "enum": ["left", "right", "middle"]},
    },
    ["target"],
    acts=True,
)
HOVER = _spec("hover", "Move the mouse over an element.", {"element": _ELEMENT, "target": _TARGET}, ["target"])
TYPE = _spec(
    "type",
    "Type text into an element that takes text.",
    {
        "element": _ELEMENT,
        "target": _TARGET,
        "text": {"type": "string", "maxLength": 10_000},
        "submit": {"type": "boolean", "description": "Press Enter afterwards"},
        "slowly": {"type": "boolean", "description": "One key after the other"},
    },
    ["target", "text"],
    acts=True,
)
FILL_FORM = _spec(
    "fill_form",
    "Fill several fields of a form.",
    {
        "fields": {
            "type": "array",
            "minItems": 1,
            "maxItems": 50,
            "items": {
                "type": "object",
                "properties": {
                    "name": {"type": "string", "description": "What the field is, in words"},
                    "target": _TARGET,
                    "type": {"type": "string", "enum": ["textbox", "checkbox", "radio", "combobox", "slider"]},
                    "value": {"type": "string", "maxLength": 10_000, "description": "For a checkbox: true or false"},
                },
                "required": ["target", "type", "value"],
                "additionalProperties": False,
            },
        }
    },
    ["fields"],
    acts=True,
)
SELECT_OPTION = _spec(
    "select_option",
    "Select options in a dropdown.",
    {"element": _ELEMENT, "target": _TARGET, "values": {"type": "array", "items": {"type": "string"}, "maxItems": 50}},
    ["target", "values"],
    acts=True,
)
PRESS_KEY = _spec(
    "press_key",
    "Press a key, such as Enter, ArrowLeft or a.",
    {"key": {"type": "string", "minLength": 1, "maxLength": 40}},
    ["key"],
    acts=True,
)
TABS = _spec(
    "tabs",
    "List, open, close or choose tabs.",
    {
        "action": {"type": "string", "enum": ["list", "new", "close", "select"]},
        "index": {"type": "integer", "description": "For close and select; close without it closes the current tab"},
        "url": {"type": "string", "description": "For new: what to open in it"},
    },
    ["action"],
)
WAIT_FOR = _spec(
    "wait_for",
    "Wait until text appears or is gone, or for some seconds.",
    {
        "time": {"type": "number", "minimum": 0, "maximum": 30, "description": "Seconds"},
        "text": {"type": "string", "maxLength": 500},
        "textGone": {"type": "string", "maxLength": 500},
    },
    [],
)
TAKE_SCREENSHOT = _spec(
    "take_screenshot",
    "Take a picture of the page. It is also saved in the workspace.",
    {
        "target": {**_TARGET, "description": "Only this element"},
        "type": {"type": "string", "enum": ["png", "jpeg"]},
        "fullPage": {"type": "boolean", "description": "The whole page, not only what is in view"},
    },
    [],
)
CLOSE = _spec("close", "Close the browser's tabs; cookies are forgotten.", {}, [])
