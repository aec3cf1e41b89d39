"""Disable the telemetry of onnxruntime; must be imported before it.

Since 1.29 the builds for Linux and macOS also send events and store an identifier of the machine,
starting at import. Set ORT_DISABLE_TELEMETRY=0 to allow that.
"""

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
