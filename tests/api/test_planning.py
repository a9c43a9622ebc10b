"""Plans: what is announced is what is done, and looking makes nothing."""

from pathlib import Path

import pytest

from assay.api.planning import Plan
from assay.artifacts.manifest import Manifest
from assay.artifacts.workspace import NotMade, Workspace
from assay.progress import note


def make(workspace: Workspace, name: str) -> Manifest:
    draft = workspace.open_draft("scores", name, 1, {"name": name}, {})
    manifest = draft.finished()
    if manifest is None:
        draft.start()
        manifest = draft.finish(schema={}, parts=[])
    return manifest


def test_looking_finds_what_is_there_and_makes_nothing(workspace: Workspace) -> None:
    made = make(workspace, "first")
    before = sorted(workspace.root.rglob("*"))
    looking = Workspace(workspace.root).looking()
    assert make(looking, "first") == made
    with pytest.raises(NotMade):
        make(looking, "second")
    assert sorted(workspace.root.rglob("*")) == before
    assert looking.found == {made.fingerprint} and workspace.found == set()


def test_only_what_is_missing_is_done_and_steps_see_those_before(workspace: Workspace) -> None:
    make(workspace, "a")
    done: list[str] = []

    def plan() -> tuple[Plan, list[bool]]:
        plan = Plan(workspace)

        def first(space: Workspace) -> str:
            return make(space, "a").name

        def second(space: Workspace) -> str:
            name = one.result() + "b"
            make(space, name)
            done.append(name)
            return name

        def third(space: Workspace) -> str:
            done.append("written")
            return two.result() + "c"

        one = plan.add("one", first)
        two = plan.add("two", second)
        three = plan.add("three", third, is_always_done=True)
        plan.run()
        assert three.result() == "abc"
        return plan, [step.is_done for step in (one, two, three)]

    assert plan()[1] == [True, True, True]
    assert done == ["ab", "written"]
    done.clear()
    found = plan()[0].workspace.found
    assert done == ["ab", "written"]  # the second was only looked at: it is there
    assert len(found) == 2


def test_a_step_that_comes_to_be_there_while_others_are_done_is_found(workspace: Workspace) -> None:
    """What a step is made from may be missing where the step's own artifact is not."""
    late = make(workspace, "late")
    plan = Plan(workspace)
    needed = plan.add("needed", lambda space: make(space, "needed"))
    plan.add("late", lambda space: (needed.result(), make(space, "late"))[1])
    plan.run()
    assert plan.workspace.found == {late.fingerprint}


def test_notes_are_said_once(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    from assay import progress

    said: list[str] = []
    monkeypatch.setattr(progress, "_board", progress._Board())
    monkeypatch.setattr(progress._board, "say", lambda *texts: said.append(str(texts)))
    progress.set_mode("lines")

    def step(space: Workspace) -> Manifest:
        note("some documents are left out")
        return make(space, "noted")

    for _ in range(2):  # made, then found
        said.clear()
        plan = Plan(workspace)
        plan.add("step", step)
        plan.run()
        assert sum("left out" in line for line in said) == 1


def test_an_error_while_looking_is_raised(workspace: Workspace) -> None:
    plan = Plan(workspace)
    plan.add("broken", lambda space: Path("/nowhere/at/all").read_text())
    with pytest.raises(FileNotFoundError):
        plan.run()
