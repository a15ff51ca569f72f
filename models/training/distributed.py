# SPDX-License-Identifier: Apache-2.0
"""Several processes that train one network: on one machine by ``--workers``, on several GPUs or machines by
``torchrun``.

Each process computes its part of the same batch, and DistributedDataParallel averages their gradients, over gloo
between CPUs and over NCCL between GPUs. Losses are divided by what the whole batch contains, so that the result is that
of one process, up to rounding and up to batch norm: its statistics are those of a process's own part, on GPUs
(`nn.SyncBatchNorm`) of the whole batch.
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import distributed, nn
from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException

from codenet import files
from codenet.command import BAD_INPUT, INTERRUPTED, describe
from codenet.errors import CodenetError
from models.command import interrupt_on_termination, sheltered

#: How long processes wait for another one, which may be caching images or compiling kernels.
_PATIENCE = timedelta(hours=6)

#: Takes the process's number, and how many there are.
Job = Callable[[int, int], None]


def rank() -> int:
    """Number of this process."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def world() -> int:
    """Number of processes."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def local_rank() -> int:
    """Number of this process on its machine."""
    return int(os.environ.get("LOCAL_RANK", rank()))


def pick_device(name: str) -> torch.device:
    """The device that ``--device`` means for this process; ``auto`` is its own GPU if there is one.

    `CodenetError` for an unknown device, and if there are more processes than GPUs.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise CodenetError(f"device is {name!r}, expected auto, cpu, cuda or cuda:NUMBER") from error
    if device.type == "cpu":
        return device
    if device.type != "cuda" or not torch.cuda.is_available():
        raise CodenetError(
            f"device is {name!r}, but PyTorch {torch.__version__} sees no such device here; try --device cpu"
        )
    if device.index is None:
        device = torch.device("cuda", local_rank())
    count = torch.cuda.device_count()
    if device.index >= count:
        raise CodenetError(
            f"device {device} for process {local_rank()}: this machine has {count}, start no more processes"
        )
    torch.cuda.set_device(device)
    return device


def has_fast_bfloat16() -> bool:
    """Whether this machine multiplies bfloat16 at more than float32's speed."""
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def start_workers(job: Job, output: Path, workers: int | None = None, device: str = "cpu") -> None:
    """Run ``job(worker, workers)`` in processes that find each other by a file in ``output``, or as one of torchrun's.

    ``workers`` None is one process a GPU that ``device`` may mean, or two without any; under torchrun it is the number
    of its processes. ``job`` must pickle. A `CodenetError` or KeyboardInterrupt of the processes is raised here, once.

    Processes of one thread each wait for one another once a step; the threads of one process do so at each operation,
    which is many times slower on a machine that has other things to do.
    """
    output.mkdir(parents=True, exist_ok=True)
    if "WORLD_SIZE" in os.environ:
        interrupt_on_termination()
        _join("env://", int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]), job)
        return
    if workers is None:
        workers = (torch.cuda.device_count() if device in ("auto", "cuda") else 0) or 2
    if workers < 1:
        raise CodenetError(f"training: workers is {workers}, expected 1 or more")
    if workers == 1:
        job(0, 1)
        return
    meeting = output / f"meeting-{os.getpid()}"
    try:
        run_processes(functools.partial(_meet, meeting, workers, job), workers, output)
    finally:
        meeting.unlink(missing_ok=True)


def run_processes(work: Callable[[int], None], count: int, output: Path) -> None:
    """Run ``work(number)`` in ``count`` processes of one thread, which know nothing of each other; it must pickle.

    A `CodenetError` or KeyboardInterrupt of theirs is raised here, once; it passes through a file in ``output``.
    """
    complaint = output / f"complaint-{os.getpid()}"
    try:
        with sheltered():
            processes = torch.multiprocessing.spawn(_worker, (work, complaint), count, join=False)
        _wait_for(processes)
    except (ProcessExitedException, ProcessRaisedException) as error:
        if not complaint.exists():
            raise
        # Where one says what is wrong, the others may have failed because they waited for it.
        kind = KeyboardInterrupt if getattr(error, "exit_code", None) == INTERRUPTED else CodenetError
        raise kind(complaint.read_text(encoding="utf-8")) from error
    finally:
        complaint.unlink(missing_ok=True)


def _wait_for(processes: Any) -> None:
    """Wait for spawned processes; Ctrl-C and SIGTERM ask them to stop, at the second time at once."""
    before = signal.getsignal(signal.SIGTERM)
    interrupt_on_termination()
    try:
        while not processes.join():
            pass
    except KeyboardInterrupt:
        for process in processes.processes:
            process.terminate()
        while not processes.join():
            pass
        raise
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


def _meet(meeting: Path, workers: int, job: Job, worker: int) -> None:
    _join(f"file://{meeting.resolve()}", worker, workers, job)


def _worker(number: int, work: Callable[[int], None], complaint: Path) -> None:
    torch.set_num_threads(1)
    interrupt_on_termination()
    try:
        work(number)
    except (CodenetError, OSError, KeyboardInterrupt) as error:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        # All find the same fault in the user's data; the one who started them says so, once.
        # One that is ended because another has failed has nothing to say.
        if not complaint.exists():
            files.write(complaint, describe(error))
        os._exit(INTERRUPTED if isinstance(error, KeyboardInterrupt) else BAD_INPUT)


def _join(meeting: str, worker: int, workers: int, job: Job) -> None:
    # Both at once: what is small and on the CPU goes over gloo, gradients on GPUs over NCCL.
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() and distributed.is_nccl_available() else "gloo"
    distributed.init_process_group(backend, meeting, rank=worker, world_size=workers, timeout=_PATIENCE)
    try:
        job(worker, workers)
    finally:
        distributed.destroy_process_group()


@contextlib.contextmanager
def stop_requests() -> Iterator[Callable[[], bool]]:
    """Whether any process was asked to stop (Ctrl-C, SIGTERM) since the body began; all processes must call it.

    The signals then only note the wish; a second one interrupts at once.
    """
    asked = False

    def note(number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True

    def anyone() -> bool:
        return bool(sum_over_processes(torch.tensor(float(asked)))) if world() > 1 else asked

    if threading.current_thread() is not threading.main_thread():
        yield anyone
        return
    # A process that ignores Ctrl-C is stopped by the one that started it.
    numbers = [n for n in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(n) is not signal.SIG_IGN]
    before = {number: signal.signal(number, note) for number in numbers}
    try:
        yield anyone
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def parallel(network: nn.Module, device: torch.device) -> nn.Module:
    """``network`` itself, or a wrapper that averages gradients over all processes and starts from the first one's
    state.
    """
    if world() == 1:
        return network
    # With one input channel or a 1x1 kernel, channels first and last are the same order in memory under two names:
    # nothing is copied.
    warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
    # Running averages of batch norm are not exchanged: those of the first process are kept.
    devices = [device] if device.type == "cuda" else None
    return nn.parallel.DistributedDataParallel(network, device_ids=devices, forward_sync_buffers=False)


def sum_over_processes(values: torch.Tensor) -> torch.Tensor:
    """Sum of a tensor over all processes, in all of them."""
    if world() > 1:
        values = values.clone()
        distributed.all_reduce(values)
    return values


def from_first(value: Any) -> Any:
    """The first process's value (anything that pickles) in all of them."""
    if world() == 1:
        return value
    box = [value if rank() == 0 else None]
    distributed.broadcast_object_list(box, device=torch.device("cpu"))
    return box[0]


def gather(value: Any) -> list[Any]:
    """The values of all processes (anything that pickles), in their order, in all of them."""
    if world() == 1:
        return [value]
    values: list[Any] = [None] * world()
    distributed.all_gather_object(values, value)
    return values


@contextlib.contextmanager
def first_of_machine() -> Iterator[None]:
    """The body runs in the first process of each machine, then in its others: they find the files that it wrote."""
    if local_rank():
        wait_for_all()
    yield
    if not local_rank():
        wait_for_all()


def wait_for_all() -> None:
    """Wait until every process is here."""
    if world() > 1:
        distributed.all_reduce(torch.zeros(1))
