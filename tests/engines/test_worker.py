"""The one thread that owns MLX."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest

from labs_helper.engines.worker import Worker


@pytest.fixture
def worker():
    return Worker()


def test_everything_runs_in_one_other_thread(worker):
    names = {worker.call(threading.get_ident) for _ in range(5)}
    assert len(names) == 1 and threading.get_ident() not in names


def test_results_and_errors_reach_the_caller(worker):
    assert worker.call(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        worker.call(divmod, 1, 0)
    assert worker.call(divmod, 7, 2) == (3, 1), "the worker outlives an error"


def test_the_worker_outlives_an_exit(worker):
    with pytest.raises(SystemExit):
        worker.call(sys.exit, 3)
    assert worker.call(int, "5") == 5


def test_a_call_from_the_worker_itself_does_not_deadlock(worker):
    assert worker.submit(lambda job: worker.call(worker.call, int, "5")).wait(timeout=5) == 5


def test_jobs_run_in_order(worker):
    seen = []
    jobs = [worker.submit(lambda job, i=i: seen.append(i)) for i in range(20)]
    jobs[-1].wait(timeout=5)
    assert seen == list(range(20))


def test_a_job_that_is_stopped_before_it_starts_never_runs(worker):
    gate, ran, told = threading.Event(), [], []
    worker.submit(lambda job: gate.wait(5))
    waiting = worker.submit(lambda job: ran.append(1), when_stopped=lambda: "not started", on_done=told.append)
    waiting.stop()
    assert waiting.done and waiting.wait(timeout=0) == "not started" and told == ["not started"]
    gate.set()
    worker.call(int)
    assert ran == []


def test_a_running_job_hears_stop(worker):
    started = threading.Event()

    def work(job):
        started.set()
        while not job.cancelled():
            time.sleep(0.001)
        return "stopped"

    job = worker.submit(work)
    assert started.wait(5)
    job.stop()
    assert job.wait(timeout=5) == "stopped"


def test_wait_has_a_limit(worker):
    gate = threading.Event()
    job = worker.submit(lambda job: gate.wait(5))
    with pytest.raises(TimeoutError):
        job.wait(timeout=0.01)
    gate.set()
    assert job.wait(timeout=5) is True


def test_callbacks(worker):
    done, failed = [], []
    worker.submit(lambda job: 5, on_done=done.append, on_error=failed.append).wait(timeout=5)
    job = worker.submit(lambda job: 1 / 0, on_done=done.append, on_error=failed.append)
    job.settle(timeout=5)
    assert done == [5] and isinstance(failed[0], ZeroDivisionError) and job.error is failed[0]


def test_a_broken_callback_is_shown_and_the_worker_lives(worker, capsys):
    worker.submit(lambda job: 5, on_done=lambda result: 1 / 0).settle(timeout=5)
    assert worker.call(int, "5") == 5
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_an_idle_worker_keeps_nothing_alive(worker):
    import gc
    import weakref

    class Thing:
        pass

    thing = Thing()
    seen = weakref.ref(thing)
    worker.call(id, thing)
    worker.call(int)
    del thing
    gc.collect()
    assert seen() is None


def test_leaving_python_does_not_hang_on_a_running_generation(tiny_checkpoint):
    code = (
        "from labs_helper import load; import threading, time\n"
        f"model = load({str(tiny_checkpoint)!r}); first = threading.Event()\n"
        "model.submit('Hello', max_tokens=490, on_token=lambda t: first.set()); assert first.wait(100)\n"
        "print(time.time())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr
    assert time.time() - float(done.stdout) < 15
