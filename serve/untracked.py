"""Imported before onnxruntime, which otherwise reports its use to its maker.

Since 1.29 its builds for Linux and macOS, too, send events and keep an identifier of the machine,
beginning with the import. Set ORT_DISABLE_TELEMETRY=0 yourself if you want that.
"""

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
