"""uvicorn's connection with a time limit on a request's head.

`uvicorn serve.main:app --http serve.web.connection:Connection`. uvicorn itself waits without end
for a head of which a part has come, and for the first byte of a new connection;
--timeout-keep-alive counts only the silence after an answer. Here it counts in all three cases.
"""

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol


class Connection(H11Protocol):
    """Closed when --timeout-keep-alive passes without a whole head: at first, and after an answer.

    A body has its own limit (serve.web.guard). The number of connections is limited by none but the
    operating system; a proxy has to do that.
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
        # A pipelined request may have begun already.
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
