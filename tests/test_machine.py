import errno
import io
import itertools
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import tinycodec as tc
from tinycodec import machine
from tinycodec.machine.session import Progress

needs_library = pytest.mark.skipif(machine.library() is None, reason="this NumPy's matrix library takes no orders")


@pytest.fixture
def library():
    """The matrix library with two threads, as its user set it."""
    get, set_to = machine.library()
    before = get()
    set_to(2)
    yield get
    set_to(before)


@needs_library
@pytest.mark.parametrize("threads", [1, 2])
def test_the_matrix_library_has_one_thread_while_ours_work_and_then_what_it_had(threads, library):
    with machine.workers(threads) as on_threads:
        assert on_threads(lambda _: library(), range(3)) == [1, 1, 1]
    assert library() == 2


@needs_library
def test_an_error_gives_the_matrix_library_its_threads_back(library):
    with pytest.raises(ZeroDivisionError), machine.workers(2) as on_threads:
        on_threads(lambda i: 1 / i, [0])
    assert library() == 2


@needs_library
def test_an_interruption_while_threads_are_started_gives_the_matrix_library_its_threads_back(library, monkeypatch):
    def interrupted(threads):
        raise KeyboardInterrupt

    monkeypatch.setattr(machine, "ThreadPool", interrupted)
    with pytest.raises(KeyboardInterrupt), machine.workers(2):
        pass
    assert library() == 2


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="wakes the main thread, as Ctrl-C does")
def test_after_an_interruption_nobody_is_at_work_any_more():
    def work(i):
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        time.sleep(0.5)
        finished.append(i)

    finished, handler = [], signal.signal(signal.SIGINT, signal.default_int_handler)       # it may be ignored
    try:
        with pytest.raises(KeyboardInterrupt), machine.workers(2) as on_threads:
            on_threads(work, [0])
        assert finished == [0]
    finally:
        signal.signal(signal.SIGINT, handler)


@needs_library
def test_the_last_of_several_workers_gives_the_threads_back(library):
    with machine.workers(2):
        with machine.workers(2):
            pass
        assert library() == 1
    assert library() == 2


@needs_library
def test_numpys_own_wheels_are_found_and_all_cores_are_used():
    assert machine.default_threads() == machine.cores()


def no_thread(self):
    raise RuntimeError("can't start new thread")


def test_one_thread_is_the_callers(monkeypatch):
    monkeypatch.setattr("threading.Thread.start", None)
    with machine.workers(1) as on_threads:
        assert on_threads(lambda i: threading.current_thread(), [0, 1]) == 2 * [threading.current_thread()]


@pytest.mark.parametrize("started", [0, 1])
def test_threads_that_cannot_be_started_change_no_result(started, mnist, monkeypatch):
    def results():
        codec = tc.Codec(5)
        history = tc.train(codec, mnist[0][:256], 1000, epochs=1, threads=4, progress=False)
        return history["loss"].tolist(), codec.compress(mnist[1][:300])

    expected, starts = results(), itertools.count()
    start = threading.Thread.start
    monkeypatch.setattr("threading.Thread.start", lambda self: start(self) if next(starts) % 4 < started else no_thread(self))
    assert results() == expected
    assert next(starts) > 0


def test_a_training_in_a_thread_that_outlives_the_main_thread_ends_as_any():
    script = """if True:
        import threading
        import numpy as np, tinycodec as tc

        def train():
            threading.main_thread().join()
            print(len(tc.train(tc.Codec(2), np.zeros((10, 28, 28), np.uint8), 1000, epochs=2, threads=2, progress=False)["loss"]))

        threading.Thread(target=train).start()"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("2\n", "")


def test_threads_share_the_work_and_keep_its_order():
    both = threading.Barrier(2, timeout=60)                # broken, unless two threads meet there
    with machine.workers(2) as on_threads:
        assert on_threads(lambda i: both.wait() * 0 + i, range(6)) == list(range(6))


def test_an_error_in_a_thread_is_the_callers():
    both = threading.Barrier(2, timeout=60)
    with pytest.raises(ZeroDivisionError), machine.workers(2) as on_threads:
        on_threads(lambda i: both.wait() and 1 / 0, range(2))      # `wait` gives 0 to one of both


class Log(io.StringIO):
    """An object that is written to and has nothing else, or refuses."""
    isatty = property()

    def __init__(self, error=None):
        super().__init__()
        self.error = error

    def write(self, text):
        if self.error:
            raise self.error
        return super().write(text)


def train():
    return len(tc.train(tc.Codec(2), np.zeros((10, 28, 28), np.uint8), 1000, epochs=2, threads=1)["loss"])


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), ValueError("closed"), UnicodeEncodeError("ascii", "", 0, 1, "")])
def test_a_log_that_takes_nothing_ends_no_training(error, monkeypatch):
    monkeypatch.setattr(sys, "stderr", Log(error))
    assert train() == 2


def test_no_log_at_all_ends_no_training(monkeypatch, capfd):
    for log in (None, open(os.devnull, "w")):
        monkeypatch.setattr(sys, "stderr", log)
        if log:
            log.close()
        assert train() == 2
    assert capfd.readouterr().out == ""


def test_a_log_without_isatty_gets_a_line_an_epoch(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Log())
    train()
    assert [line[:9] for line in sys.stderr.getvalue().splitlines()] == ["epoch 1/2", "epoch 2/2"]


def test_the_line_that_renews_itself_fits_into_80_columns(monkeypatch):
    class Terminal(Log):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stderr", Terminal())
    report = Progress(0, 99 * 469, 469)
    report.begun -= 10 * 24
    report.shown -= 1
    report([(1234.5, 123.4, 0.5)] * 469 * 24)
    assert len(sys.stderr.getvalue()) <= 80 and sys.stderr.getvalue().endswith("left\n")


def test_a_clock_that_stands_still_is_no_error(monkeypatch, capsys):
    monkeypatch.setattr("time.monotonic", lambda: 1.0)
    train()
    assert capsys.readouterr().err.count("epoch ") == 2


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs a system that binds processes to cores")
def test_cores_are_those_that_the_process_may_use():
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert machine.cores() == 1
    finally:
        os.sched_setaffinity(0, before)


@pytest.mark.skipif(sys.version_info < (3, 13), reason="Python can be told the number of cores from 3.13 on")
def test_cores_are_at_most_what_python_was_told():
    command = [sys.executable, "-X", "cpu_count=1", "-c", "from tinycodec import machine; print(machine.cores())"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "1\n"


def test_importing_the_package_changes_no_environment():
    script = "import os; before = dict(os.environ); import tinycodec, tinycodec.__main__; assert dict(os.environ) == before"
    subprocess.run([sys.executable, "-c", script], check=True)
