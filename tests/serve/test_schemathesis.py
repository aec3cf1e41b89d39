"""schemathesis tests the service against its OpenAPI document: no 5xx, nothing undocumented."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.bundles import write_bundle
from tests.support.live_service import live_service

TOKEN = "a-token-of-the-test"
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
    "unsupported_method",
)


@pytest.mark.slow
@pytest.mark.parametrize(("token", "seconds"), [(TOKEN, 60), ("", 15)])
def test_the_document_tells_everything(tmp_path: Path, token: str, seconds: int) -> None:
    """Run with the admin routes enabled and disabled."""
    bundle = write_bundle(tmp_path / "bundle")
    with live_service(INSWAPPER_MODEL_PATH=str(bundle), INSWAPPER_ADMIN_TOKEN=token) as address:
        done = subprocess.run(
            [
                *(str(Path(sys.executable).with_name("schemathesis")), "run"),
                f"{address}/openapi.json",
                *("--header", f"Authorization: Bearer {TOKEN}"),
                *("--checks", ",".join(CHECKS)),
                *("--phases", "examples,coverage,fuzzing"),
                *("--max-time", str(seconds)),
                *("--seed", "1", "--continue-on-failure", "--generation-database", "none"),
            ],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
    assert done.returncode == 0, done.stdout + done.stderr
