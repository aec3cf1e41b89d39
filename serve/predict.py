"""Score images, videos and folders: `python -m serve.predict PATH... [--json]`.

Exit code: 0 all inputs were scored, 1 some inputs failed, 2 wrong usage, settings or bundle.
"""

import json
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import cv2
import typer
from loky import cpu_count

import serve.untracked  # noqa: F401
from pipeline.runtime.errors import PipelineError
from serve.detector.inference import load_swap_detector
from serve.records import Examiner, Record, find_inputs
from serve.settings import load_settings

SOME_FAILED = 1
USAGE_ERROR = 2

# Tracebacks with local variables would print image content.
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def predict(
    paths: Annotated[list[Path], typer.Argument(help="Images, videos or folders.")],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object per input and line.")
    ] = False,
    model: Annotated[
        Path | None,
        typer.Option(
            help="Bundle folder. Default: INSWAPPER_MODEL_PATH, then data/release, data/export."
        ),
    ] = None,
    heatmap: Annotated[
        Path | None, typer.Option(help="Write each face with its seam map as a PNG to this folder.")
    ] = None,
) -> None:
    """Score each image or video for INSwapper face swaps."""
    if heatmap is not None and heatmap.exists() and not heatmap.is_dir():
        raise typer.BadParameter(f"{heatmap} is not a folder", param_hint="--heatmap")
    inputs = find_inputs(paths)
    failed = 0
    try:
        with _examiner(model, heatmap, single=len(inputs) == 1) as examiner:
            notes = examiner.detector.warnings
            if not as_json:
                _print_notes(notes)
            for done, record in enumerate(examiner.records(inputs), start=1):
                failed += record["error"] is not None
                _clear_progress()
                print(_json_line(record) if as_json else _rows(record, notes), flush=True)
                _show_progress(done, len(inputs))
    except PipelineError as error:
        _clear_progress()
        print(error, file=sys.stderr)
        raise typer.Exit(USAGE_ERROR) from None
    _clear_progress()
    raise typer.Exit(SOME_FAILED if failed else 0)


@contextmanager
def _examiner(model: Path | None, heatmap: Path | None, single: bool) -> Iterator[Examiner]:
    """An Examiner. Several inputs run in parallel, one thread each; one input gets all cores."""
    settings = load_settings()
    cores = settings.threads or cpu_count()
    workers, threads = (1, cores) if single else (cores, 1)
    cv2.setNumThreads(threads)
    detector = load_swap_detector(settings, threads, model)
    with ThreadPoolExecutor(workers) as pool:
        yield Examiner(detector, settings, pool, workers, heatmap)


def _json_line(record: Record) -> str:
    return json.dumps(record, allow_nan=False)


def _rows(record: Record, notes: tuple[str, ...]) -> str:
    """Table row of one input, and a line for each warning that is not among the notes."""
    path = printable(record["path"])
    if record["error"] is not None:
        return f"{'error':10}  {'-':>6}  {path}: {record['error']}"
    score = "-" if record["score"] is None else f"{record['score']:.3f}"
    row = f"{record['verdict']:10}  {score:>6}  {path}  ({_evidence(record)})"
    return "\n".join([row, *(f"{'':20}{w}" for w in record["warnings"] if w not in notes)])


def _evidence(record: Record) -> str:
    if record["kind"] == "video":
        return f"{_count(record['frames'], 'frame')} of {_count(record['scenes'], 'scene')}"
    return _count(record["faces"], "face")


def _count(items: list[Record], noun: str) -> str:
    return f"{len(items)} {noun}{'' if len(items) == 1 else 's'}"


def printable(text: str) -> str:
    """A file name with control characters, and characters the terminal cannot show, escaped."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    encoding = sys.stdout.encoding or "ascii"
    return shown.encode(encoding, "backslashreplace").decode(encoding)


def _print_notes(warnings: tuple[str, ...]) -> None:
    for warning in warnings:
        print(f"note: {warning}", file=sys.stderr)


def _show_progress(done: int, total: int) -> None:
    if sys.stderr.isatty() and total > 1:
        print(f"\r{done}/{total}", end="", file=sys.stderr, flush=True)


def _clear_progress() -> None:
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    app()
