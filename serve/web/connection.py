"""uvicorn's connection with a time limit on request heads.

Use it with `uvicorn serve.main:app --http serve.web.connection:Connection`. uvicorn's own waits
without limit for the rest of a partial head and for the first byte of a new connection, and applies
--timeout-keep-alive only after a response. Here the limit applies in all three cases.
"""

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol


class Connection(H11Protocol):
    """Connection closed if --timeout-keep-alive passes without a complete request head.

    Bodies have their own limit (serve.web.guard). The number of connections is limited only by the
    operating system; use a proxy to limit it.
    """

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if not self._is_idle():
            self._stop_waiting()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        # A pipelined request may already have begun.
        if self._is_idle():
            self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def _is_idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _await_head(self) -> None:
        self._stop_waiting()
        self._deadline = self.loop.call_later(
            self.timeout_keep_alive, self.timeout_keep_alive_handler
        )

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
