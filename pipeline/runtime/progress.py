"""Progress of a long loop on stderr: a bar on a terminal, a line a minute elsewhere."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from tqdm import tqdm

INTERVAL_S = 60.0

ItemT = TypeVar("ItemT")


def tracked(
    items: Iterable[ItemT], total: int, unit: str, clock: Callable[[], float] = time.monotonic
) -> Iterator[ItemT]:
    """Yield the items; report how many were done, their rate and the time left.

    The bar is removed at the end, and a loop of less than a minute prints no line, so that short
    runs leave nothing in a log. total: number of items. unit: what they are, in the plural.
    clock: seconds.
    """
    name = Path(sys.argv[0]).stem
    if sys.stderr.isatty():
        yield from tqdm(items, name, total, leave=False, unit=f" {unit}", dynamic_ncols=True)
        return
    start = printed = clock()
    for done, item in enumerate(items, start=1):
        yield item
        now = clock()
        if now - printed >= INTERVAL_S and done < total:
            print(f"{name}: {_line(done, total, unit, now - start)}", file=sys.stderr, flush=True)
            printed = now


def _line(done: int, total: int, unit: str, elapsed_s: float) -> str:
    per_s = done / elapsed_s
    rate = f"{per_s:.1f} per s" if per_s >= 1 else f"{per_s * 60:.1f} per min"
    left = tqdm.format_interval((total - done) / per_s)
    return f"{done} of {total} {unit}, {rate}, {left} left"
