"""One replica of the service on Ray Serve, and what the administration may ask of it."""

import asyncio
from collections.abc import Callable

from fastapi import FastAPI
from pydantic import BaseModel
from ray import serve as ray_serve

from serve.detector.state import InForce, ServiceState
from serve.problems import Problem
from serve.schemas import Model, Threshold, model_of, threshold_of


class Held(BaseModel):
    """What one replica has in force. application: pictures or videos."""

    application: str
    replica: str
    model: Model
    threshold: Threshold


class Outcome(BaseModel):
    """status: 200, or that of the problem `fault`, after which what was in force still is."""

    held: Held
    status: int = 200
    fault: str = ""


class Replica:
    """The whole app with a detector, an inference lane and jobs of its own.

    Requests go to the app; these methods are called through Ray. Orders come one after another,
    since the administration has one replica.
    """

    # Of the class that ray_serve.ingress makes of this one.
    app: FastAPI

    def __init__(self) -> None:
        self._obeyed = ""
        # Else an order that took too long could end after it was taken back.
        self._turn = asyncio.Lock()

    async def check_health(self) -> None:
        """A replica without a detector never joins; Ray tries another start."""
        if self._state.loaded is None:
            raise RuntimeError(self._state.fault)

    async def held(self) -> Outcome:
        """What is in force."""
        return Outcome(held=_held(self._state.in_force))

    async def reload(self, order: str) -> Outcome:
        """Verify the bundle on disk and exchange it. order: a name for `take_back`."""
        async with self._turn:
            outcome = await self._obey(self._state.reload)
            if not outcome.fault:
                self._obeyed = order
            return outcome

    async def take_back(self, order: str) -> Outcome:
        """Undo the reload of that name; nothing to do where it was refused."""
        async with self._turn:
            if self._obeyed != order:
                return await self.held()
            self._obeyed = ""
            return await self._obey(self._state.roll_back)

    async def set_threshold(self, threshold: float | None) -> Outcome:
        """In memory: the administration writes the state file."""
        return await self._obey(lambda: self._state.set_threshold(threshold, write=False))

    async def _obey(self, change: Callable[[], object]) -> Outcome:
        status, fault = 200, ""
        try:
            # Requests are answered meanwhile.
            await asyncio.to_thread(change)
        except Problem as problem:
            status, fault = problem.status_code, problem.detail
        return Outcome(held=_held(self._state.in_force), status=status, fault=fault)

    @property
    def _state(self) -> ServiceState:
        state = self.app.state.workplace.state
        assert isinstance(state, ServiceState)
        return state


def _held(in_force: InForce) -> Held:
    context = ray_serve.get_replica_context()
    return Held(
        application=context.app_name,
        replica=context.replica_id.unique_id,
        model=model_of(in_force),
        threshold=threshold_of(in_force),
    )
