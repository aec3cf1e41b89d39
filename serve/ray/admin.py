"""POST /admin/reload-model and /admin/threshold on Ray Serve, for all replicas or for none."""

import asyncio
import logging
import secrets
from functools import cache
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Query, Request
from ray import serve as ray_serve
from ray.serve.handle import DeploymentHandle

from serve.detector.state import RETRY_AFTER_S, change_under_way, keep_or_refuse
from serve.problems import Problem, add_problem_handlers
from serve.ray.replica import Held, Outcome
from serve.routes.admin import audit, require_token
from serve.schemas import AdminAnswer, ThresholdOrder
from serve.settings import Settings, load_settings
from serve.web.guard import Guard
from serve.web.logs import set_up_logs

LOG = logging.getLogger("inswapper.serve")
# Application and deployment of those that are told.
TOLD = ("pictures", "videos")
# To load and warm up a bundle takes a second or two.
ANSWER_S = 60


class ReplicasAnswer(AdminAnswer):
    """What every replica has in force now."""

    replicas: int


def require_admin(request: Request) -> None:
    """Raises the problems 403 and 401."""
    require_token(request, _settings(request).admin_token)


# Ray takes the prefix /admin off.
router = APIRouter(dependencies=[Depends(require_admin)])


@router.get("/replicas")
async def replicas() -> list[Held]:
    """What each replica has in force, asked one by one."""
    return [outcome.held for outcome in _all_obeyed(await _told("held"))]


@router.post("/reload-model")
async def reload_model(
    request: Request, rollback: Annotated[bool, Query()] = False
) -> ReplicasAnswer:
    """Every replica verifies the bundle on its disk and exchanges it; when one refuses, all go back
    to what they had."""
    if rollback:
        detail = "put the old bundle back into its folder and reload: replicas that start read that"
        raise Problem(409, f"there is no rollback on Ray Serve; {detail}")
    async with _turn(request):
        order = secrets.token_hex(8)
        try:
            outcomes = _all_obeyed(await _told("reload", order))
            _require_one_bundle(outcomes)
        except Problem as problem:
            audit(request, "reload refused", reason=problem.detail)
            _all_obeyed(await _told("take_back", order))
            raise
    return _answer(request, "reload", outcomes)


@router.post("/threshold")
async def set_threshold(request: Request, order: ThresholdOrder) -> ReplicasAnswer:
    """Every replica calls fake from this score on; null takes that back."""
    state_file = _settings(request).state_file
    async with _turn(request):
        if state_file is not None:
            # First, so that a replica which starts meanwhile reads it.
            await asyncio.to_thread(keep_or_refuse, state_file, order.threshold)
        outcomes = _all_obeyed(await _told("set_threshold", order.threshold))
    return _answer(request, "threshold", outcomes)


def create_admin_app() -> FastAPI:
    """For one replica, which is what makes orders follow each other. Raises SettingsError."""
    settings = load_settings()
    set_up_logs(settings.log_format)
    app = FastAPI(openapi_url=None)
    app.state.settings, app.state.turn = settings, asyncio.Lock()
    app.add_middleware(Guard, settings=lambda: settings)
    add_problem_handlers(app)
    app.include_router(router)
    return app


def _settings(request: Request) -> Settings:
    settings = request.app.state.settings
    assert isinstance(settings, Settings)
    return settings


def _turn(request: Request) -> asyncio.Lock:
    """Raises the problem 409 while another order is carried out."""
    turn = request.app.state.turn
    assert isinstance(turn, asyncio.Lock)
    if turn.locked():
        raise change_under_way()
    return turn


async def _told(method: str, *arguments: Any) -> list[Outcome | BaseException]:
    """What every running replica answers. Raises the problem 503 when an application is missing."""
    answers = [
        _handle(name)
        .broadcast(method, *arguments)
        .results_async(timeout_s=ANSWER_S, return_exceptions=True)
        for name in TOLD
    ]
    found = await asyncio.gather(*answers, return_exceptions=True)
    return [
        outcome for group in found for outcome in (group if isinstance(group, list) else [group])
    ]


@cache
def _handle(name: str) -> DeploymentHandle[Any]:
    return ray_serve.get_deployment_handle(name, name)


def _all_obeyed(outcomes: list[Outcome | BaseException]) -> list[Outcome]:
    """Raises the first refusal as a problem, with how many replicas were asked and obeyed."""
    obeyed = [o for o in outcomes if isinstance(o, Outcome) and not o.fault]
    counts = {"asked": len(outcomes), "obeyed": len(obeyed)}
    for outcome in outcomes:
        if not isinstance(outcome, Outcome):
            LOG.error("a replica did not answer", exc_info=outcome)
            raise Problem(
                503, "a replica did not answer", retry_after_s=RETRY_AFTER_S, replicas=counts
            )
        if outcome.fault:
            raise Problem(outcome.status, outcome.fault, replicas=counts)
    return obeyed


def _require_one_bundle(outcomes: list[Outcome]) -> None:
    """Raises the problem 409 when the disks of the replicas hold different ones."""
    if len({outcome.held.model.sha256 for outcome in outcomes}) > 1:
        raise Problem(409, "the replicas' disks hold different bundles; nothing was changed")


def _answer(request: Request, what: str, outcomes: list[Outcome]) -> ReplicasAnswer:
    held = outcomes[0].held
    settings = _settings(request)
    audit(request, what, new=held.model.sha256[:12], replicas=len(outcomes))
    return ReplicasAnswer(
        threshold=held.threshold,
        model=held.model,
        persisted=held.threshold.source != "admin" or settings.state_file is not None,
        replicas=len(outcomes),
    )
