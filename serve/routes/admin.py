"""POST /admin/reload-model and /admin/threshold; disabled while INSWAPPER_ADMIN_TOKEN is unset."""

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
    """Check the bearer token. Raises Problem 403 when the service has none, and 401."""
    token = app_state(request).service.settings.admin_token
    if token is None:
        raise Problem(403, "INSWAPPER_ADMIN_TOKEN is not set on this service")
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    expected = token.get_secret_value().encode()
    # Constant time, so that the delay does not reveal how much of a guess was correct.
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
        bool, Query(description="Restore from memory the bundle that the last reload replaced.")
    ] = False,
) -> AdminAnswer:
    """Verify the bundle on disk and make it active; on any failure the old one stays active."""
    what = "rollback" if rollback else "reload"
    try:
        change = state.service.roll_back() if rollback else state.service.reload()
    except Problem as problem:
        state.metrics.reloads.labels(what, "refused").inc()
        audit(request, f"{what} refused", reason=problem.detail)
        raise
    state.metrics.reloads.labels(what, "done").inc()
    audit(request, what, old=_bundle_of(change.before), new=_bundle_of(change.after))
    # A restart loads the bundle on disk, not the restored one.
    return _answer(state, change, persisted=not rollback)


@router.post("/threshold", responses=documented(400, 408, 503))
def set_threshold(request: Request, order: ThresholdOrder, state: AppStateDep) -> AdminAnswer:
    """Set the score at or above which a face is flagged fake; null resets it."""
    change = state.service.set_threshold(order.threshold)
    audit(request, "threshold", old=_limit_of(change.before), new=_limit_of(change.after))
    return _answer(state, change)


def _answer(state: AppState, change: Change, *, persisted: bool = True) -> AdminAnswer:
    after = change.after
    is_saved = after.threshold_source != "admin" or state.service.settings.state_file is not None
    return AdminAnswer(
        threshold=threshold_of(after), model=model_of(after), persisted=persisted and is_saved
    )


def audit(request: Request, what: str, **fields: Any) -> None:
    """Log an admin change. There is only one token, so no user name is known."""
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
