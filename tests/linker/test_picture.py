"""linker/saga.md shows the saga as it is, and the saga leaves nobody in the middle."""

import ast
import inspect
from importlib import import_module
from pathlib import Path

import linker
from linker.rows import ENDED
from linker.saga import Move
from tests.linker.picture import PAGE, WALKED, Walk, page

SOURCES = {path.stem: path.read_text() for path in Path(linker.__path__[0]).glob("*.py")}
PURE = {name for name, source in SOURCES.items() if "async " not in source}


def test_the_picture_is_current() -> None:
    assert PAGE.read_text() == page(Walk().run()), "the saga changed: renew its picture by `python -m tests.linker.picture`"


def moves(module: str, name: str) -> bool:
    """Say whether this is a transition of a grant."""
    found = getattr(import_module(f"linker.{module}"), name, None)
    return inspect.isfunction(found) and found.__annotations__.get("return") in (Move, Move | None)


def test_every_transition_that_the_shells_make_has_been_walked() -> None:
    nodes = [node for name in SOURCES.keys() - PURE for node in ast.walk(ast.parse(SOURCES[name]))]
    used = [(node.value.id, node.attr) for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)]
    found = {name for module, name in used if module in PURE and moves(module, name)}
    assert found <= WALKED, "tests/linker/picture.py must walk it too"


def test_wherever_the_walk_comes_there_is_a_next_step_or_a_reason() -> None:
    for grant in Walk().run().grants:
        ends = grant.state in ENDED
        assert bool(grant.reason) if ends else grant.due_at is not None or grant.state == "completed", grant
        assert not ends or (grant.code, grant.access, grant.refresh, grant.due_at) == (None, None, None, None)


def test_from_every_state_an_end_can_be_reached() -> None:
    steps = Walk().run().steps
    reached = set(ENDED) | {"completed"}
    while more := {step.state for step in steps if step.to_state in reached} - reached:
        reached |= more
    assert {step.state for step in steps} <= reached
