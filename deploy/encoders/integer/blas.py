"""BLAS on one thread while any encoder computes: products this small only lose by more."""

import threading
from types import TracebackType
from typing import Any

__all__ = ["ONE_BLAS_THREAD", "OneBlasThread"]


class OneBlasThread:
    """A context manager that many threads may hold at once, in any order.

    The first to enter sets the limit and the last to leave takes it away. Limits of threadpoolctl that overlap
    without being nested would restore each other's, and leave the whole process with one thread.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._n_users = 0
        self._controller: Any = None
        self._limits: Any = None

    def __enter__(self) -> None:
        with self._lock:
            if self._controller is None:
                import threadpoolctl

                self._controller = threadpoolctl.ThreadpoolController()
            if self._n_users == 0:
                self._limits = self._controller.limit(limits=1, user_api="blas")
            self._n_users += 1

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._n_users -= 1
            if self._n_users == 0:
                self._limits.restore_original_limits()


ONE_BLAS_THREAD = OneBlasThread()
