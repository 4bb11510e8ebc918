"""The one thread that owns MLX.

Since MLX 0.31.2 the streams of a device belong to the thread that made them: an array that was left lazy in
one thread cannot be evaluated in another (ml-explore/mlx-lm#1181, #1256). JupyterLab runs widget callbacks in
another thread than cells. So every load, evaluation and generation goes through the queue here, one at a time.
"""

from __future__ import annotations

import atexit
import threading
import traceback
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Generic, ParamSpec, TypeVar, cast

_QUEUED, _RUNNING, _DONE = "queued", "running", "done"

T = TypeVar("T")
P = ParamSpec("P")


class Job(Generic[T]):
    """One piece of work in the queue. `stop` asks it to end, `wait` waits for its result.

    Example:
        job = WORKER.submit(lambda job: 1 + 1)
        job.wait(timeout=5)      # 2
    """

    def __init__(
        self,
        work: Callable[[Job[T]], T],
        when_stopped: Callable[[], T],
        on_done: Callable[[T], None] | None,
        on_error: Callable[[BaseException], None] | None,
    ) -> None:
        self._work: Callable[[Job[T]], T] | None = work
        self._when_stopped: Callable[[], T] | None = when_stopped
        self._on_done, self._on_error = on_done, on_error
        self._state, self._lock = _QUEUED, threading.Lock()
        self._cancel, self._finished = threading.Event(), threading.Event()
        self._result: T | None = None
        self._error: BaseException | None = None

    @property
    def done(self) -> bool:
        """Whether the job has ended, in whatever way."""
        return self._finished.is_set()

    @property
    def error(self) -> BaseException | None:
        """What the job ended with, if it failed."""
        return self._error

    def cancelled(self) -> bool:
        """Whether somebody has asked this job to stop. The work asks this at every token."""
        return self._cancel.is_set()

    def stop(self) -> None:
        """Ask the job to stop. A job that has not started never will; a running one ends at its next token."""
        self._cancel.set()
        with self._lock:
            if self._state != _QUEUED:
                return
            self._state = _DONE
        assert self._when_stopped is not None  # only an ended job has given it up
        self._settle(self._when_stopped)

    def wait(self, timeout: float | None = None) -> T:
        """The result of the job. Raises what the job raised, or TimeoutError after `timeout` seconds."""
        if not self._finished.wait(timeout):
            raise TimeoutError(f"not finished after {timeout} seconds")
        if self._error is not None:
            raise self._error
        return cast(T, self._result)

    def settle(self, timeout: float) -> None:
        """Wait until the job has ended, whatever its result."""
        self._finished.wait(timeout)

    def run(self) -> None:
        """Do the work, unless it was stopped before. Called by the worker."""
        with self._lock:
            if self._state != _QUEUED or self._work is None:
                return
            self._state, work = _RUNNING, self._work
        self._settle(lambda: work(self))

    def _settle(self, produce: Callable[[], T]) -> None:
        try:
            self._result = produce()
        except BaseException as error:  # the worker must outlive every job; the waiting thread gets the error
            self._error = error
        self._state = _DONE
        self._work = self._when_stopped = None  # they may hold a model
        # Callbacks first, then the flag: a thread that waits finds everything in place.
        try:
            if self._error is None and self._on_done is not None:
                self._on_done(cast(T, self._result))
            if self._error is not None and self._on_error is not None:
                self._on_error(self._error)
        except Exception:
            traceback.print_exc()  # a broken callback has nobody else to tell
        finally:
            self._on_done = self._on_error = None
            self._finished.set()


class Worker:
    """A queue of jobs and the one thread that runs them. The thread starts with the first job.

    Example:
        worker = Worker()
        worker.call(sum, [1, 2])      # 3, computed in the worker's thread
    """

    def __init__(self) -> None:
        self._queue: SimpleQueue[Job[Any]] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._running: Job[Any] | None = None
        self._closed = False
        self._lock = threading.Lock()

    def is_current(self) -> bool:
        """Whether the caller runs in the worker's thread."""
        return threading.current_thread() is self._thread

    def submit(
        self,
        work: Callable[[Job[T]], T],
        *,
        when_stopped: Callable[[], T] | None = None,
        on_done: Callable[[T], None] | None = None,
        on_error: Callable[[BaseException], None] | None = None,
    ) -> Job[T]:
        """Put work into the queue and return at once.

        work: called with its Job in the worker's thread.
        when_stopped: gives the result of a job that was stopped before it started; None is that result by default.
        on_done, on_error: called in the worker's thread when the job ends; for a job that was stopped before
            it started, in the thread that stopped it.
        """
        job = Job(work, when_stopped or _nothing, on_done, on_error)
        self._start()
        self._queue.put(job)
        return job

    def call(self, function: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
        """Run a function in the worker's thread and wait for its result.

        From the worker's own thread it runs right away: waiting for oneself would never end.
        """
        if self.is_current():
            return function(*arguments, **options)
        return self.submit(lambda job: function(*arguments, **options)).wait()

    def _start(self) -> None:
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._work, name="labs-mlx", daemon=True)
                self._thread.start()
                atexit.register(self._at_exit)

    def _work(self) -> None:
        while True:
            job = self._queue.get()
            self._running = job
            if self._closed:
                job.stop()
            job.run()
            self._running = None
            del job  # an idle worker must not keep the last result alive

    def _at_exit(self) -> None:
        """Come to rest before the interpreter ends: a thread that computes meanwhile can crash the exit.

        The thread itself is left waiting for work and not ended. Ending it would run MLX's clean-up of the
        thread at the same time as MLX's clean-up of the process; about one exit in three then aborted
        ("terminate called without an active exception", mlx 0.32.4).
        """
        self._closed = True
        running = self._running
        if running is not None:
            running.stop()
            running.settle(timeout=5)


def _nothing() -> Any:
    return None


WORKER = Worker()
