"""The HTTP side of the fake service: listen on the loopback, answer, break connections, leave nothing behind."""

import contextlib
import socket
import struct
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from sqdr.deploy.fakes.braket.faults import Fault, Faults, error_answer
from sqdr.deploy.fakes.braket.messages import Answer, Request

__all__ = ["LoopbackServer"]

HOST = "127.0.0.1"
# Braket itself takes less; a longer body is refused before it is read.
MAX_BODY_BYTES = 32 << 20
IDLE_S = 60.0
# SO_LINGER on, 0 seconds: close() sends a reset.
RESET = struct.pack("ii", 1, 0)


class LoopbackServer(ThreadingHTTPServer):
    """A server on 127.0.0.1 with one thread per connection, all of them gone after ``stop``.

    The threads are daemons, so that a process that forgets to stop it still ends.
    """

    def __init__(self, port: int, answer: Callable[[Request], Answer], faults: Faults, requests: list[str]) -> None:
        """Bind a port; 0 for a free one."""
        self.answer, self.faults, self.requests = answer, faults, requests
        self.stopping = threading.Event()
        self._open: set[socket.socket] = set()
        self._to_reset: set[socket.socket] = set()
        super().__init__((HOST, port), _Handler)
        self._workers: list[threading.Thread] = []
        self._thread = _start(lambda: self.serve_forever(poll_interval=0.02))

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.server_address[1])

    def stop(self) -> None:
        """Stop listening, end every connection and wait for every thread."""
        self.stopping.set()
        self.shutdown()
        for connection in list(self._open):
            # ends the wait for the next request of a connection kept alive
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self.server_close()
        for thread in (self._thread, *self._workers):
            thread.join()

    def mark_for_reset(self, connection: socket.socket) -> None:
        """Let a connection end in a reset rather than in an orderly close."""
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self._to_reset.add(connection)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Note an accepted connection, then serve it on a thread of its own."""
        self._open.add(request)
        worker = _start(lambda: self.process_request_thread(request, client_address))
        self._workers = [thread for thread in self._workers if thread.is_alive()] + [worker]

    def shutdown_request(self, request: Any) -> None:
        """Close a connection: with a reset if so marked."""
        self._open.discard(request)
        if request in self._to_reset:
            self._to_reset.discard(request)
            request.close()
        else:
            super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Stay silent about clients that went away; anything else is a fault of the fake."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


def _start(target: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=target, name="fake-braket", daemon=True)
    thread.start()
    return thread


class _Handler(BaseHTTPRequestHandler):
    server: LoopbackServer
    protocol_version = "HTTP/1.1"
    timeout = IDLE_S

    def _handle(self) -> None:
        n_bytes = int(self.headers.get("Content-Length") or 0)
        if n_bytes > MAX_BODY_BYTES:
            self.close_connection = True
            self._send(Answer(413))
            return
        request = Request.of(self.command, self.path, self.rfile.read(n_bytes))
        self.server.requests.append(f"{request.method} {request.path}")
        fault = self.server.faults.take(request)
        if fault is None:
            self._send(self.server.answer(request))
        else:
            self._break(fault, request)

    do_GET = do_POST = do_PUT = do_HEAD = _handle

    def _break(self, fault: Fault, request: Request) -> None:
        match fault.kind:
            case "reset_before":
                self._reset()
            case "reset_after":
                self.server.answer(request)
                self._reset()
            case "lost":
                self.server.answer(request)
                self.server.stopping.wait(fault.seconds)
                self.close_connection = True
            case "slow":
                self.server.stopping.wait(fault.seconds)
                self._send(self.server.answer(request))
            case "truncated":
                answer = self.server.answer(request)
                self._send(Answer(answer.status, answer.body[: len(answer.body) // 2], answer.content_type))
            case "garbage":
                answer = self.server.answer(request)
                self._send(Answer(200, b"<html>\x00 {not a document", answer.content_type))
            case kind:
                self._send(error_answer(kind, request))

    def _reset(self) -> None:
        self.server.mark_for_reset(self.connection)
        self.close_connection = True

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        for key, value in answer.headers.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    def log_message(self, format: str, *args: Any) -> None:
        """Stay silent: ``requests`` holds what came in."""
