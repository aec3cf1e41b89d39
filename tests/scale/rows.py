"""A number of the plan, and where it comes from.

measured: as a report has it. computed: follows from measured numbers, prices and the work that is
asked for. assumed: rests on a number about machines, a GPU or the data that nobody measured here.
"""

from dataclasses import dataclass
from functools import partial
from typing import Literal

Kind = Literal["measured", "computed", "assumed"]


@dataclass(frozen=True)
class Row:
    """how: what it was measured on, or its formula."""

    what: str
    value: float
    unit: str
    how: str
    kind: Kind


measured = partial(Row, kind="measured")
computed = partial(Row, kind="computed")
assumed = partial(Row, kind="assumed")
