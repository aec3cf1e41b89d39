"""POST /admin/reload-model and /admin/threshold: shut while INSWAPPER_ADMIN_TOKEN is unset."""

import hmac
import logging
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from pydantic import SecretStr

from serve import examples
from serve.deps import Place, Workplace, workplace
from serve.detector.state import Change, InForce
from serve.problems import Problem, answered, documented, request_id_of
from serve.schemas import AdminAnswer, ThresholdOrder, model_of, threshold_of
from serve.web.logs import event

AUDIT = logging.getLogger("inswapper.audit")
SCHEME = "bearer"


def require_admin(request: Request) -> None:
    """Raises the problems 403, when no token is set, and 401."""
    require_token(request, workplace(request).state.settings.admin_token)


def require_token(request: Request, token: SecretStr | None) -> None:
    """As `require_admin`."""
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
    place: Place,
    rollback: Annotated[
        bool, Query(description="Put back what the last reload replaced, from memory.")
    ] = False,
) -> AdminAnswer:
    """Verify the bundle on disk and exchange it; on any failure the old one goes on serving."""
    what = "rollback" if rollback else "reload"
    try:
        change = place.state.roll_back() if rollback else place.state.reload()
    except Problem as problem:
        place.metrics.reloads.labels(what, "refused").inc()
        audit(request, f"{what} refused", reason=problem.detail)
        raise
    place.metrics.reloads.labels(what, "done").inc()
    audit(request, what, old=_bundle_of(change.before), new=_bundle_of(change.after))
    # A restart reads what is on disk.
    return _answer(place, change, persisted=not rollback)


@router.post("/threshold", responses=documented(400, 408, 503))
def set_threshold(request: Request, order: ThresholdOrder, place: Place) -> AdminAnswer:
    """Change from which score a face is called fake; null takes that back."""
    change = place.state.set_threshold(order.threshold)
    audit(request, "threshold", old=_limit_of(change.before), new=_limit_of(change.after))
    return _answer(place, change)


def _answer(place: Workplace, change: Change, *, persisted: bool = True) -> AdminAnswer:
    after = change.after
    kept = after.threshold_source != "admin" or place.state.settings.state_file is not None
    return AdminAnswer(
        threshold=threshold_of(after), model=model_of(after), persisted=persisted and kept
    )


def audit(request: Request, what: str, **fields: Any) -> None:
    """Who holds the token did that; there is one token, so no name is known."""
    event(AUDIT, logging.WARNING, "audit", what=what, **fields, request_id=request_id_of(request))


def _bundle_of(in_force: InForce | None) -> str | None:
    if in_force is None:
        return None
    bundle = in_force.detector.bundle
    return f"{bundle.spec.version} {bundle.sha256[:12]}"


def _limit_of(in_force: InForce | None) -> str | None:
    if in_force is None:
        return None
    fake_from = in_force.detector.decision.thresholds.fake_from
    return f"{fake_from:.6g} ({in_force.threshold_source})"
