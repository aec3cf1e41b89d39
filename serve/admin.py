"""POST /admin/reload-model and /admin/threshold: shut while INSWAPPER_ADMIN_TOKEN is unset."""

import hmac

from fastapi import APIRouter, Depends, Request

from serve.detect import Place, workplace
from serve.problems import Problem, documented
from serve.schemas import AdminAnswer, ThresholdOrder, model_of, threshold_of
from serve.state import InForce

SCHEME = "bearer"


def require_admin(request: Request) -> None:
    """Raises the problems 403, when no token is set, and 401."""
    token = workplace(request).state.settings.admin_token
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
    responses=documented(401, 403, 409, 413, 422, 500),
)


@router.post("/reload-model")
def reload_model(place: Place) -> AdminAnswer:
    """Verify the bundle on disk and exchange it; on any failure the old one goes on serving."""
    return _answer(place.state.reload())


@router.post("/threshold", responses=documented(400, 408, 503))
def set_threshold(order: ThresholdOrder, place: Place) -> AdminAnswer:
    """Change from which score a face is called fake, until the next restart."""
    return _answer(place.state.set_threshold(order.threshold))


def _answer(in_force: InForce) -> AdminAnswer:
    # A reload reads what is on disk, and a restart would, too; a threshold is kept in memory only.
    persisted = in_force.threshold_source != "admin"
    return AdminAnswer(
        threshold=threshold_of(in_force), model=model_of(in_force), persisted=persisted
    )
