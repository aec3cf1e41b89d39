"""Selection and loading of the exported bundle and of one of its models."""

from pathlib import Path

from pipeline.bundle.load import SPEC_FILE, Bundle, Precision, load_bundle, read_spec
from pipeline.runtime.errors import BundleError
from serve.settings import Settings

RELEASE = Path("data/release")
EXPORT = Path("data/export")


def find_bundle(chosen: Path | None) -> Path:
    """Folder of the bundle: the chosen one, else data/release, else data/export.

    chosen: a bundle's folder or its detector.json (--model or INSWAPPER_MODEL_PATH).
    Raises BundleError if `chosen` is not a bundle; there is no fallback in that case.
    """
    if chosen is not None:
        folder = chosen.parent if chosen.name == SPEC_FILE else chosen
        if not (folder / SPEC_FILE).is_file():
            raise BundleError(
                f"{chosen}: not a detector bundle; expected a folder with {SPEC_FILE}"
                " (given by --model or INSWAPPER_MODEL_PATH)"
            )
        return folder
    for folder in (RELEASE, EXPORT):
        if (folder / SPEC_FILE).is_file():
            return folder
    raise BundleError(
        "no detector bundle: INSWAPPER_MODEL_PATH (or --model) is not set, and neither"
        f" {RELEASE} nor {EXPORT} contains a {SPEC_FILE}. Run `make repro` to train and export one"
    )


def open_bundle(settings: Settings, threads: int, chosen: Path | None = None) -> Bundle:
    """Find, load and verify the bundle. threads: number per inference. Raises BundleError."""
    folder = find_bundle(chosen or settings.model_path)
    return load_bundle(folder, threads, _precision(folder, settings))


def _precision(folder: Path, settings: Settings) -> Precision:
    if settings.precision != "auto":
        return settings.precision
    return "fp32" if "fp32" in read_spec(folder / SPEC_FILE).models else "int8"
