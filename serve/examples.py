"""Example responses for the OpenAPI document; a test validates them against the schemas."""

from typing import Any

from serve.problems import EXAMPLE_ID

Example = dict[str, Any]

HEALTH: Example = {"status": "alive"}
READY: Example = {"status": "ready"}
METRICS = 'inswapper_requests_total{method="POST",route="/detect",status="200"} 7.0\n'

_THRESHOLD: Example = {
    "fake": 0.71,
    "suspicious": 0.5,
    "tight": {"fake": 0.92, "suspicious": 0.8},
    "source": "bundle",
}
_MODEL: Example = {
    "name": "inswapper-detector",
    "version": "1",
    "sha256": "0" * 64,
    "precision": "fp32",
}
_COMMON: Example = {"request_id": EXAMPLE_ID, "threshold": _THRESHOLD, "model": _MODEL}
_FACE: Example = {
    "box_xyxy": [212.0, 96.5, 380.2, 310.8],
    "keypoints": [[258.1, 180.4], [334.0, 179.2], [297.3, 225.0], [266.0, 262.7], [330.4, 261.5]],
    "detector_score": 0.9981,
    "verdict": "fake",
    "score": 0.93,
    "reasons": [],
    "heads": {"real_fake": 0.91, "inswapper": 0.95, "boundary": 0.88},
    "view_scores": [0.93],
    "possible": ["fake"],
    "surroundings": 1.0,
    "seam_evidence": {
        "ring_edges": [0.0, 0.5, 0.9, 1.3],
        "bands": [
            {
                "scale_px": 0.5,
                "inside_db": -31.2,
                "outside_db": -24.9,
                "drop_db": 6.3,
                "profile_db": [-31.4, -31.0, -24.9],
            }
        ],
    },
    "seam_map": None,
}
_IMAGE: Example = {
    "verdict": "fake",
    "score": 0.93,
    "faces": [_FACE],
    "image": {"width_px": 640, "height_px": 480, "format": "JPEG", "orientation": 1},
    "timing_ms": {"decode": 4.1, "queue": 0.2, "inference": 61.0, "total": 66.0},
    "warnings": [],
}

DETECT: Example = {**_COMMON, **_IMAGE}
BATCH: Example = {
    **_COMMON,
    "items": [
        {"index": 0, "status": 200, "result": _IMAGE, "error": None},
        {"index": 1, "status": 415, "result": None, "error": "not an image (JPEG, PNG, ...)"},
    ],
}
VIDEO: Example = {
    **_COMMON,
    "verdict": "fake",
    "score": 0.9,
    "highest_scene": 0,
    "scenes": [{"start_frame": 0, "stop_frame": 250, "verdict": "fake", "score": 0.9}],
    "frames": [
        {
            "frame_index": 20,
            "timestamp_s": 0.8,
            "scene": 0,
            "verdict": "fake",
            "score": 0.93,
            "faces": [_FACE],
        }
    ],
    "tracks": [
        {
            "track": 0,
            "scene": 0,
            "verdict": "fake",
            "score": 0.93,
            "highest": 0.93,
            "faces": [{"frame": 0, "face": 0}],
        }
    ],
    "timing_ms": {"total": 2140.0},
    "warnings": [],
}
JOB: Example = {
    "request_id": EXAMPLE_ID,
    "job_id": "0" * 32,
    "status": "done",
    "progress": 1.0,
    "stage": "finished",
    "frames_done": 1,
    "frames_total": 1,
    "expires_in_s": 900.0,
    "result": VIDEO,
    "error": None,
}
JOB_STARTED: Example = {
    **JOB,
    "status": "queued",
    "progress": 0.0,
    "stage": "queued",
    "frames_done": 0,
    "frames_total": None,
    "expires_in_s": None,
    "result": None,
}
EVENT = 'event: progress\ndata: {"job_id": "...", "status": "running", "progress": 0.4, ...}\n\n'
ADMIN: Example = {
    "threshold": {**_THRESHOLD, "fake": 0.8, "source": "admin"},
    "model": _MODEL,
    "persisted": True,
}
