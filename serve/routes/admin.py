"""POST /admin/reload-model and /admin/threshold: shut while INSWAPPER_ADMIN_TOKEN is unset."""

import hmac
import logging
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request

from serve import examples
from serve.deps import AppState, AppStateDep, app_state
from serve.detector.state import ActiveDetector, Change
from serve.problems import Problem, answered, documented, request_id_of
from serve.schemas import AdminAnswer, ThresholdOrder, model_of, threshold_of
from serve.web.logs import event

AUDIT = logging.getLogger("inswapper.audit")
SCHEME = "bearer"


def require_admin(request: Request) -> None:
    """Raises the problems 403, when no token is set, and 401."""
    token = app_state(request).service.settings.admin_token
    if token is None:
        raise Problem(403, "INSWAPPER_ADMIN_TOKEN is not set on this service")
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    expected = token.get_secret_value().encode()
    # In constant time: the answer's delay must not tell how much of a guess was right.
    same = hmac.compare_digest(given.strip().encode(), expected)
    if scheme.lower() != SCHEME or not same:
        raise Problem(401, "expected the header Authorization: Bearer TOKEN")


router = APIRouter(
    prefix="/admin",
    tags=["administration"],
    dependencies=[Depends(require_admin)],
    responses=answered(examples.ADMIN) | documented(401, 403, 409, 413, 422, 500),
)


@router.post("/reload-model")
def reload_model(
    request: Request,
    state: AppStateDep,
    rollback: Annotated[
        bool, Query(description="Put back what the last reload replaced, from memory.")
    ] = False,
) -> AdminAnswer:
    """Verify the bundle on disk and exchange it; on any failure the old one goes on serving."""
    what = "rollback" if rollback else "reload"
    try:
        change = state.service.roll_back() if rollback else state.service.reload()
    except Problem as problem:
        state.metrics.reloads.labels(what, "refused").inc()
        audit(request, f"{what} refused", reason=problem.detail)
        raise
    state.metrics.reloads.labels(what, "done").inc()
    audit(request, what, old=_bundle_of(change.before), new=_bundle_of(change.after))
    # A restart reads what is on disk.
    return _answer(state, change, persisted=not rollback)


@router.post("/threshold", responses=documented(400, 408, 503))
def set_threshold(request: Request, order: ThresholdOrder, state: AppStateDep) -> AdminAnswer:
    """Change from which score a face is called fake; null takes that back."""
    change = state.service.set_threshold(order.threshold)
    audit(request, "threshold", old=_limit_of(change.before), new=_limit_of(change.after))
    return _answer(state, change)


def _answer(state: AppState, change: Change, *, persisted: bool = True) -> AdminAnswer:
    after = change.after
    kept = after.threshold_source != "admin" or state.service.settings.state_file is not None
    return AdminAnswer(
        threshold=threshold_of(after), model=model_of(after), persisted=persisted and kept
    )


def audit(request: Request, what: str, **fields: Any) -> None:
    """Who holds the token did that; there is one token, so no name is known."""
    event(AUDIT, logging.WARNING, "audit", what=what, **fields, request_id=request_id_of(request))


def _bundle_of(active: ActiveDetector | None) -> str | None:
    if active is None:
        return None
    bundle = active.detector.bundle
    return f"{bundle.spec.version} {bundle.sha256[:12]}"


def _limit_of(active: ActiveDetector | None) -> str | None:
    if active is None:
        return None
    fake_from = active.detector.decision.thresholds.fake_from
    return f"{fake_from:.6g} ({active.threshold_source})"
