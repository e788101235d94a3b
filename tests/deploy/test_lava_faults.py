"""Whatever goes wrong: a named error in time, no process left, no shared memory left."""

import importlib.util
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from sqdr.deploy.encoders.lava import LavaEncoder, leftovers
from sqdr.errors import (
    BackendCrashError,
    BackendError,
    BackendTimeoutError,
    BundleError,
    ConfigError,
    MissingDependencyError,
)
from sqdr.timing import Timing

HERE = Path(__file__).parent
TIMING = Timing(n_steps=4, period=4, n_layers=2)
SAMPLES = np.ones((6, 1, 4, 5, 4), np.uint8)
# Steps 1 to 4 are the warm-up; this one lies in the second sample of the first call.
FAULT_STEP = "10"
# Far above what any fault may take to be noticed, far below the time-out.
SOON_S = 15.0

pytestmark = [
    pytest.mark.lava,
    pytest.mark.skipif(
        sys.version_info[:2] != (3, 10) or importlib.util.find_spec("lava") is None,
        reason="Lava runs on Python 3.10 with `sqdr[lava]` only",
    ),
]


@pytest.fixture(scope="module")
def net_path(tmp_path_factory):
    """A conv (1,4,5)->(2,2,3) and a dense ->3, written by hand: torch is not needed."""
    import h5py

    rng = np.random.default_rng(1)
    path = tmp_path_factory.mktemp("net") / "encoder.net"
    with h5py.File(path, "w") as file:
        for index, (kind, shape, weight_shape) in enumerate(
            [("conv", (2, 2, 3), (2, 1, 3, 3)), ("flatten", (12,), None), ("dense", (3,), (3, 12))]
        ):
            layer = file.create_group(f"layer/{index}")
            layer["type"] = np.bytes_(kind)
            layer["shape"] = np.array(shape)
            if weight_shape is None:
                continue
            layer["weight"] = 2 * rng.integers(-10, 30, weight_shape)
            neuron = {"type": np.bytes_("CUBA"), "iDecay": 4096, "vDecay": 410, "vThMant": 64}
            for key, value in neuron.items():
                layer[f"neuron/{key}"] = value
            if kind == "conv":
                for key, value in {"stride": 1, "padding": 0, "dilation": 1}.items():
                    layer[key] = np.array([value, value])
                layer["groups"] = 1
    return path


@pytest.fixture(params=["stock", "fast", "batched"])
def graph(request):
    return request.param


def worker_command(kind, step=FAULT_STEP):
    return [sys.executable, str(HERE / "lava_fault_worker.py"), kind, step]


def make_encoder(net_path, kind="none", step=FAULT_STEP, **options):
    options = {"timeout_s": 60.0, "worker_command": worker_command(kind, step)} | options
    options = {"input_shape": (1, 4, 5), "n_outputs": 3, "timing": TIMING} | options
    return LavaEncoder(net_path, **options)


def living_group(pgid):
    """Processes of the group; zombies are dead and only wait for init to reap them."""
    found = []
    for process in psutil.process_iter():
        try:
            if os.getpgid(process.pid) == pgid and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return found


def leftover_paths(pid):
    """Segments, semaphores and folders of workers that process `pid` started."""
    part = f"-{pid}-"
    roots = [leftovers.SHARED_MEMORY, Path("/tmp"), Path(os.environ.get("TMPDIR", "/tmp"))]
    return [path for root in roots for path in root.iterdir() if "sqdr-" in path.name and part in path.name]


def wait_until(is_true, within_s=SOON_S):
    deadline = time.monotonic() + within_s
    while not is_true() and time.monotonic() < deadline:
        time.sleep(0.02)
    return is_true()


@pytest.fixture
def watch():
    """Note the worker of an encoder; at the end nothing of it may be left."""
    groups = []

    def note(encoder):
        assert len(living_group(encoder.worker_pid)) > 5
        assert any(leftovers.SHARED_MEMORY.glob(f"sqdr-*-{os.getpid()}-*"))
        groups.append(encoder.worker_pid)
        return encoder

    yield note
    assert [living_group(group) for group in groups] == [[] for _ in groups]
    assert leftover_paths(os.getpid()) == []


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("raise", "SpikeSource raised ValueError: boom"),
        ("raise_unpicklable", "SpikeSource raised an exception that could not be read"),
        ("exit", "SpikeSource exited with code 3"),
        ("kill", "SpikeSource was killed by signal 9"),
    ],
)
def test_encode_names_the_reason_when_a_model_fails(net_path, watch, graph, kind, message):
    encoder = make_encoder(net_path, kind, graph=graph)
    with encoder:
        watch(encoder)
        start = time.monotonic()
        with pytest.raises(BackendCrashError, match=message):
            encoder.encode(SAMPLES)
        assert time.monotonic() - start < SOON_S
        with pytest.raises(BackendError, match=r"ended after an error .*Enter it again"):
            encoder.encode(SAMPLES)


@pytest.mark.parametrize("kind", ["sleep", "stop"])
def test_encode_times_out_when_a_model_hangs(net_path, watch, graph, kind):
    encoder = make_encoder(net_path, kind, timeout_s=1.0, start_timeout_s=60.0, graph=graph)
    with encoder:
        watch(encoder)
        start = time.monotonic()
        with pytest.raises(BackendTimeoutError, match="did not answer in time while it ran the network"):
            encoder.encode(SAMPLES)
        assert 1.0 <= time.monotonic() - start < SOON_S


@pytest.mark.parametrize(
    ("kind", "step", "message"),
    [
        ("raise", "0", "ValueError: boom"),
        ("exit", "0", "SpikeSource exited with code 3"),
        ("raise", "2", "SpikeSource raised ValueError: boom"),
        ("worker_exits", "0", "worker exited with code 5 while it compiled the network"),
        ("garbage", "0", "something else than frames"),
    ],
)
def test_enter_names_the_reason_when_the_start_fails(net_path, watch, kind, step, message):
    encoder = make_encoder(net_path, kind, step)
    start = time.monotonic()
    with pytest.raises(BackendCrashError, match=message), encoder:
        pass
    assert time.monotonic() - start < SOON_S * 2
    assert encoder.worker_pid is None


def test_enter_times_out_when_the_worker_hangs(net_path, watch):
    encoder = make_encoder(net_path, "worker_sleeps", start_timeout_s=4.0)
    with pytest.raises(BackendTimeoutError, match="did not answer in time while it"), encoder:
        pass


def test_encode_is_right_when_a_model_prints(net_path, watch):
    with make_encoder(net_path, "print") as noisy, make_encoder(net_path) as quiet:
        watch(noisy)
        counts = noisy.encode(SAMPLES)
        np.testing.assert_array_equal(counts, quiet.encode(SAMPLES))
    assert counts.any()


@pytest.mark.parametrize("is_busy", [True, False])
def test_encode_reports_a_killed_worker(net_path, watch, is_busy):
    with make_encoder(net_path, "sleep" if is_busy else "none") as encoder:
        watch(encoder)
        delay_s = 0.5 if is_busy else 0.0
        timer = threading.Timer(delay_s, os.kill, (encoder.worker_pid, signal.SIGKILL))
        timer.start()
        if not is_busy:
            timer.join()
        with pytest.raises(BackendCrashError, match="worker was killed by signal 9 while it ran the network"):
            encoder.encode(SAMPLES)


def children_as_forked(pid: int) -> list[psutil.Process]:
    """Ids alone do not say: they begin again at their largest."""
    return sorted(psutil.Process(pid).children(), key=psutil.Process.create_time)


def test_encode_reports_a_lava_process_killed_between_calls(net_path, watch):
    with make_encoder(net_path) as encoder:
        watch(encoder)
        encoder.encode(SAMPLES)
        children_as_forked(encoder.worker_pid)[-1].kill()
        with pytest.raises(BackendCrashError, match="Lava's runtime service was killed by signal 9"):
            encoder.encode(SAMPLES)


def test_encode_names_a_process_of_the_batched_graph_when_it_is_killed(net_path, watch):
    with make_encoder(net_path, graph="batched") as encoder:
        watch(encoder)
        encoder.encode(SAMPLES)
        # the last four: network, source and sink, in an order that Lava's sets decide, then its runtime service
        children_as_forked(encoder.worker_pid)[-4].kill()
        with pytest.raises(BackendCrashError, match=r"Lava process (Batched|Spike|Count)\w+ was killed by signal 9"):
            encoder.encode(SAMPLES)


def test_encode_times_out_when_the_worker_is_stopped(net_path, watch):
    with make_encoder(net_path, timeout_s=1.0, start_timeout_s=60.0) as encoder:
        watch(encoder)
        os.kill(encoder.worker_pid, signal.SIGSTOP)
        with pytest.raises(BackendTimeoutError, match="did not answer in time"):
            encoder.encode(SAMPLES)


def test_encode_passes_on_ctrl_c_after_cleaning_up(net_path, watch):
    with make_encoder(net_path, "sleep") as encoder:
        watch(encoder)
        pid = encoder.worker_pid
        timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            encoder.encode(SAMPLES)
        assert living_group(pid) == []
        with pytest.raises(BackendError, match="KeyboardInterrupt"):
            encoder.encode(SAMPLES)


def test_enter_passes_on_ctrl_c_after_cleaning_up(net_path, watch):
    encoder = make_encoder(net_path, "worker_sleeps")
    threading.Timer(2.0, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        encoder.__enter__()
    assert encoder.worker_pid is None


def test_second_ctrl_c_while_cleaning_up_leaves_nothing(net_path, watch, monkeypatch):
    with make_encoder(net_path, "exit") as encoder:
        watch(encoder)
        remove, calls = leftovers.remove, []

        def interrupt_once(tag, folder):
            calls.append(tag)
            if len(calls) == 1:
                raise KeyboardInterrupt
            remove(tag, folder)

        monkeypatch.setattr(leftovers, "remove", interrupt_once)
        with pytest.raises(KeyboardInterrupt):
            encoder.encode(SAMPLES)
    assert len(calls) == 2


def test_enter_restarts_after_a_failure(net_path, watch):
    encoder = make_encoder(net_path)
    with encoder:
        watch(encoder)
        expected = encoder.encode(SAMPLES)
        os.kill(encoder.worker_pid, signal.SIGKILL)
        with pytest.raises(BackendCrashError, match="signal 9"):
            encoder.encode(SAMPLES)
    with encoder:
        watch(encoder)
        np.testing.assert_array_equal(encoder.encode(SAMPLES), expected)


def test_close_from_another_thread_ends_a_call(net_path, watch):
    encoder = make_encoder(net_path, "sleep")
    with encoder:
        watch(encoder)
        timer = threading.Timer(0.5, encoder.close)
        timer.start()
        with pytest.raises(BackendCrashError, match="closed during a call"):
            encoder.encode(SAMPLES)
        timer.join()
    with pytest.raises(BackendError, match="is not started"):
        encoder.encode(SAMPLES)


def test_encoder_that_is_dropped_leaves_nothing(net_path, watch):
    encoder = make_encoder(net_path)
    watch(encoder.__enter__())
    del encoder


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_worker_ends_with_its_parent(net_path, signal_number):
    parent = start_parent(net_path)
    worker_pid = int(parent.stdout.readline())
    assert len(living_group(worker_pid)) > 5
    assert leftover_paths(parent.pid)
    parent.send_signal(signal_number)
    parent.communicate(timeout=SOON_S)
    assert wait_until(lambda: not living_group(worker_pid), within_s=5.0)
    assert wait_until(lambda: not leftover_paths(parent.pid), within_s=5.0)


def test_worker_ends_with_its_parent_during_the_start(net_path):
    parent = start_parent(net_path, "worker_sleeps")
    assert wait_until(lambda: leftover_paths(parent.pid))
    [worker] = psutil.Process(parent.pid).children()
    parent.kill()
    parent.communicate(timeout=SOON_S)
    assert wait_until(lambda: not living_group(worker.pid), within_s=5.0)
    assert wait_until(lambda: not leftover_paths(parent.pid), within_s=5.0)


def test_worker_refuses_to_run_in_a_group_of_others():
    command = [sys.executable, "-m", "sqdr.deploy.encoders.lava.worker"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "started by LavaEncoder" in done.stderr


def test_lava_processes_end_when_parent_and_worker_are_killed(net_path):
    parent = start_parent(net_path)
    worker_pid = int(parent.stdout.readline())
    os.kill(parent.pid, signal.SIGSTOP)  # it must not clean up after the worker
    os.kill(worker_pid, signal.SIGKILL)
    parent.kill()
    parent.communicate(timeout=SOON_S)
    assert wait_until(lambda: not living_group(worker_pid), within_s=5.0)
    leftovers.sweep()
    assert leftover_paths(parent.pid) == []


def test_sweep_removes_what_a_killed_group_left(net_path):
    parent = start_parent(net_path)
    worker_pid = int(parent.stdout.readline())
    os.kill(parent.pid, signal.SIGSTOP)
    os.killpg(worker_pid, signal.SIGKILL)
    parent.kill()
    parent.communicate(timeout=SOON_S)
    assert wait_until(lambda: not living_group(worker_pid), within_s=5.0)
    assert any(leftovers.SHARED_MEMORY.glob(f"sqdr-*-{parent.pid}-*"))
    assert [tag for tag in leftovers.sweep() if f"-{parent.pid}-" in tag]
    assert leftover_paths(parent.pid) == []


def test_sweep_keeps_what_belongs_to_a_living_process(net_path, watch):
    with make_encoder(net_path) as encoder:
        watch(encoder)
        before = set(leftover_paths(os.getpid()))
        leftovers.sweep()
        assert set(leftover_paths(os.getpid())) == before
        assert encoder.encode(SAMPLES).shape == (6, 3)


def start_parent(net_path, kind="none"):
    command = [sys.executable, str(HERE / "lava_parent.py"), str(net_path), *worker_command(kind)]
    # In a session of its own, like a terminal's, or SIGINT would reach pytest's children too.
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (worker_command("no_lava"), "cannot import Lava .*set SQDR_LAVA_PYTHON"),
        ([sys.executable, "-S", "-m", "sqdr.deploy.encoders.lava.worker"], "set SQDR_LAVA_PYTHON"),
        (["/nonexistent/python"], "cannot be run: No such file.*SQDR_LAVA_PYTHON"),
    ],
)
def test_enter_says_how_to_install_lava(net_path, watch, command, message):
    with pytest.raises(MissingDependencyError, match=message), make_encoder(net_path, worker_command=command):
        pass


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_outputs": 4}, "`n_outputs` must be the network's 3, got 4"),
        ({"timing": Timing(n_steps=4, period=4, n_layers=3)}, "must be the network's 2, got 3"),
    ],
)
@pytest.mark.parametrize("kind", ["stock", "batched"])
def test_enter_rejects_a_network_that_is_not_the_one_described(net_path, watch, kind, options, message):
    with pytest.raises(ConfigError, match=message), make_encoder(net_path, graph=kind, **options):
        pass


@pytest.mark.parametrize(
    ("kind", "message"),
    [("fast", "is not a network that netx can load"), ("batched", "is not a readable netx network")],
)
def test_enter_rejects_a_file_that_is_not_a_network(tmp_path, watch, kind, message):
    path = tmp_path / "encoder.net"
    path.write_bytes(b"not HDF5")
    with pytest.raises(BundleError, match=message), make_encoder(path, graph=kind):
        pass
