"""Workers of Dask: processes of this machine, or those of a scheduler that runs already."""

import logging
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from common.atomic import scratch_folder
from common.cli import hold_stops

if TYPE_CHECKING:
    from distributed import Client

LOCAL = "local"  # value of --scheduler: processes of this machine
PROTOCOLS = ("tcp://", "tls://")  # how the address of a scheduler begins
INSTALL = "python3 -m pip install 'bgrem[dask]'"  # command that a message recommends
TRIES = 3  # of an input whose worker dies: two of them may be deaths by chance
# variables with the threads of one process
THREADS = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
GPU_SECONDS = 30  # s; nvidia-smi takes some where many GPUs wake up
QUIET = logging.CRITICAL + 1  # level of a logger that says nothing


@contextmanager
def connect(scheduler: str, jobs: int) -> Iterator["Client"]:
    """Give a client of Dask; `jobs` processes of this machine run while the block does.

    Parameters
    ----------
    scheduler : str
        `LOCAL`, or the address of a scheduler.
    jobs : int
        Processes of this machine.

    Raises
    ------
    ValueError
        If Dask is not installed, or no scheduler answers.
    """
    try:
        import dask
        from distributed import Client
    except ImportError:
        raise ValueError(f"--jobs and --scheduler need Dask. Install it: {INSTALL}.") from None
    for name in ("distributed", "distributed.client"):  # our own lines say what concerns the user
        logging.getLogger(name).setLevel(QUIET)
    with ExitStack() as stack:
        stack.enter_context(dask.config.set(_settings(jobs)))
        if scheduler == LOCAL:
            folder = stack.enter_context(scratch_folder())
            stack.enter_context(dask.config.set({"temporary-directory": str(folder)}))
            with hold_stops():
                cluster = _start_processes(jobs)
                stack.callback(_close, cluster)
            client = Client(cluster)
        else:
            try:
                client = Client(scheduler)
            except (OSError, ValueError) as error:
                raise ValueError(
                    f"--scheduler {scheduler}: no scheduler answers there ({error}). Start one "
                    "with `dask scheduler`, and workers with `dask worker`."
                ) from None
        stack.callback(_close, client)
        yield client


def _settings(jobs: int) -> dict[str, Any]:
    """Return what Dask is told."""
    threads = max(1, count_cores() // jobs)
    environment = "distributed.nanny.pre-spawn-environ"
    return {f"{environment}.{name}": threads for name in THREADS} | {
        f"{environment}.DASK_LOGGING__DISTRIBUTED": "critical",
        "distributed.scheduler.allowed-failures": TRIES - 1,
        "distributed.scheduler.worker-ttl": None,  # a library may hold Python's lock for minutes
        "distributed.scheduler.http.routes": [],  # no pages
        "distributed.worker.http.routes": [],
        "distributed.worker.profile.enabled": False,  # it takes processor time
    }


def _start_processes(jobs: int) -> Any:
    """Return a cluster of so many processes, on each GPU one, that only this process can use."""
    from multiprocessing import resource_tracker

    from distributed import Nanny, Scheduler, SpecCluster
    from distributed.security import Security

    security = Security.temporary()  # else any user of this machine could give them work
    common = {"protocol": "tls://", "host": "127.0.0.1", "security": security, "dashboard": False}
    alone = {"port": 0, "dashboard_address": "127.0.0.1:0"}
    options = common | {"nthreads": 1, "memory_limit": 0}  # 0: none, large frames lie in files
    gpus = list_gpus()
    workers = {
        number: {"cls": Nanny, "options": options | {"env": _environment(number, jobs, gpus)}}
        for number in range(jobs)
    }
    # Ctrl-C goes to all processes of a terminal; the workers are stopped by this one. They inherit
    # what is blocked; the tracker unblocks it when it starts.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}) if _masks() else None
    try:
        return SpecCluster(
            workers=workers, security=security,
            scheduler={"cls": Scheduler, "options": common | alone},
        )  # fmt: skip
    finally:
        if before is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _masks() -> bool:
    """Return whether the system can block signals: all but Windows."""
    return hasattr(signal, "pthread_sigmask")


def _environment(number: int, jobs: int, gpus: list[str]) -> dict[str, str]:
    """Return the variables of one process: the GPU that it sees."""
    if not gpus:
        return {}
    found = {"CUDA_VISIBLE_DEVICES": gpus[number % len(gpus)]}
    if jobs > len(gpus):  # several share one: none may take all of its memory at once
        found |= {"TF_FORCE_GPU_ALLOW_GROWTH": "true", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    return found


def _close(one: Any) -> None:
    """Close a client or a cluster, also where a signal comes meanwhile."""
    with hold_stops():
        one.close()


def list_gpus() -> list[str]:
    """Return the GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is None:
        question = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
        try:
            given = ",".join(subprocess.run(
                question, capture_output=True, text=True, timeout=GPU_SECONDS, check=True,
            ).stdout.split())  # fmt: skip
        except (OSError, subprocess.SubprocessError):  # no driver of NVIDIA
            return []
    names = (name.strip() for name in given.split(","))
    return [name for name in names if name not in ("", "-1")]


def count_cores() -> int:
    """Return the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
