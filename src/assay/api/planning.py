"""The steps of a job, known before the first is done: how many there are, and which of them are found done."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from assay import progress
from assay.artifacts.workspace import NotMade, Workspace

T = TypeVar("T")


class Step(Generic[T]):
    """One step of a plan. What it makes can be asked for by the steps after it."""

    def __init__(self, name: str, make: Callable[[Workspace], T], is_always_done: bool):
        self.name, self.make, self.is_always_done = name, make, is_always_done
        self._made: tuple[T] | None = None

    @property
    def is_done(self) -> bool:
        """Whether it has been done or found done."""
        return self._made is not None

    def result(self) -> T:
        """What it made.

        Raises:
            NotMade: nothing yet.
        """
        if self._made is None:
            raise NotMade(self.name)
        return self._made[0]

    def look(self, looking: Workspace) -> None:
        """Takes what the step makes when all of it is in the workspace; makes nothing."""
        if self.is_always_done:
            return
        try:
            with progress.held_notes():
                self._made = (self.make(looking),)
        except NotMade:
            pass

    def do(self, workspace: Workspace) -> None:
        """Does it."""
        self._made = (self.make(workspace),)


class Plan:
    """Steps in their order, each a function of the workspace to make or find artifacts in.

    Looking and doing run the same code, so that what is announced is what is done: in a workspace that is only looked
    at, the first artifact that is not there raises `NotMade`.
    """

    def __init__(self, workspace: Workspace):
        self.workspace = Workspace(workspace.root)  # its own record of what was found
        self._steps: list[Step[Any]] = []

    def add(self, name: str, make: Callable[[Workspace], T], *, is_always_done: bool = False) -> Step[T]:
        """A step at the end. Steps that no artifact stands for are done always."""
        step = Step(name, make, is_always_done)
        self._steps.append(step)
        return step

    def run(self) -> None:
        """Does what is not found done."""
        looking = self.workspace.looking()
        for step in self._steps:
            step.look(looking)
        with progress.plan([step.name for step in self._steps], [step.is_done for step in self._steps]) as begin:
            for number, step in enumerate(self._steps):
                if step.is_done:
                    continue
                begin(number)
                step.look(looking)  # it may be there after all, now that the steps before it are done
                if not step.is_done:
                    step.do(self.workspace)
