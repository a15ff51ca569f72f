# SPDX-License-Identifier: Apache-2.0
"""The simulated board behind a PYNQ.remote server: what a board with that runs, and PYNQ on another machine talks to by
gRPC.

The services are those of the generated classes that ``pynq`` ships, as far as overlays, registers and buffers need
them. A buffer has three places: the client's array, the board's cached memory, and what the accelerator sees.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from concurrent import futures
from typing import Any

import grpc
import numpy as np
from pynq.remote import (
    buffer_pb2,
    buffer_pb2_grpc,
    mmio_pb2,
    mmio_pb2_grpc,
    remote_device_pb2,
    remote_device_pb2_grpc,
)

from sim.platforms.linux import SYNC_WORD
from sim.platforms.live_board import LiveBoard
from sim.platforms.processing_system import ProcessingSystem

PORT = 7967
"""The one that PYNQ's client uses."""

CHUNK = 1 << 20

MANAGER = "/sys/class/fpga_manager/fpga0"


class PynqRemoteServer:
    """A PYNQ-Z2 with PYNQ.remote.

    Parameters
    ----------
    live:
        Stays the caller's.
    base:
        Address of the accelerator's registers.

    Attributes
    ----------
    loaded:
        Names of the bitstreams that were loaded, in order.
    """

    def __init__(self, live: LiveBoard, system: ProcessingSystem, base: int) -> None:
        self.live, self.system, self.base = live, system, base
        self.loaded: list[str] = []
        self.files = {
            "/proc/version": b"Linux version 6.6.10 (armv7l)",
            f"{MANAGER}/state": b"unknown\n",
            f"{MANAGER}/flags": b"0\n",
        }
        self._server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
        remote_device_pb2_grpc.add_RemoteDeviceServicer_to_server(_Files(self), self._server)
        mmio_pb2_grpc.add_MmioServicer_to_server(_Registers(self), self._server)
        buffer_pb2_grpc.add_RemoteBufferServicer_to_server(_Buffers(live), self._server)
        self._server.add_insecure_port(f"127.0.0.1:{PORT}")
        self._server.start()

    def load(self, name: str) -> None:
        """What the kernel does when a name is written to the FPGA manager."""
        assert SYNC_WORD in self.files[f"/lib/firmware/{name}"], f"{name} is no bitstream"
        self.loaded.append(name)
        self.files[f"{MANAGER}/state"] = b"operating\n"
        self.live.write(0x20, 2)

    def registers(self, address: int) -> Any:
        """What is at an address, and the offset in it."""
        if self.system.has(address):
            return self.system, address
        assert self.loaded, f"access at {address:#x} before a bitstream is loaded: this hangs a real board"
        assert self.base <= address < self.base + 0x1000, f"access at {address:#x}: nothing is there"
        return self.live, address - self.base

    def close(self) -> None:
        """Stop serving."""
        self._server.stop(None).wait()


class _Files(remote_device_pb2_grpc.RemoteDeviceServicer):
    def __init__(self, board: PynqRemoteServer) -> None:
        self._board = board

    def existsfile(self, request: Any, context: Any) -> Any:
        return remote_device_pb2.ExistsFileResponse(exists=request.file_path in self._board.files)

    def readfile(self, request: Any, context: Any) -> Iterator[Any]:
        yield remote_device_pb2.ReadFileResponse(data=self._board.files[request.file_path])

    def writefile(self, request_iterator: Iterator[Any], context: Any) -> Any:
        requests = list(request_iterator)
        path, data = requests[0].file_path, b"".join(request.data for request in requests)
        if path == f"{MANAGER}/firmware":
            self._board.load(data.decode())
        else:
            self._board.files[path] = data
        return remote_device_pb2.WriteFileResponse()

    def set_bitstream_attrs(self, request: Any, context: Any) -> Any:
        return remote_device_pb2.SetBitstreamAttrsResponse(status=True)


class _Registers(mmio_pb2_grpc.MmioServicer):
    """A window's name is its address."""

    def __init__(self, board: PynqRemoteServer) -> None:
        self._board = board

    def get_mmio(self, request: Any, context: Any) -> Any:
        return mmio_pb2.GetMmioResponse(status=True, mmio_id=str(request.base_addr))

    def read(self, request: Any, context: Any) -> Any:
        assert request.length == 4, f"{request.length} bytes read: expected words"
        target, offset = self._board.registers(int(request.mmio_id) + request.offset)
        value = target.read(offset)
        field = mmio_pb2.ReadResponse.DESCRIPTOR.fields_by_name["data"]
        if field.type == field.TYPE_INT32 and value >= 2**31:  # Until 4.0.
            value -= 2**32
        return mmio_pb2.ReadResponse(status=True, data=value)

    def write(self, request: Any, context: Any) -> Any:
        assert len(request.data) == 4, f"{len(request.data)} bytes written: expected words"
        target, offset = self._board.registers(int(request.mmio_id) + request.offset)
        target.write(offset, int.from_bytes(request.data, "little"))
        return mmio_pb2.WriteResponse(status=True)


class _Memory:
    def __init__(self, live: LiveBoard, size: int) -> None:
        self.address = live.allocate(size)
        self.dram = live.memory(self.address, size)
        self.cache = np.zeros(size, np.uint8)


class _Buffers(buffer_pb2_grpc.RemoteBufferServicer):
    def __init__(self, live: LiveBoard) -> None:
        self._live = live
        self._buffers: dict[str, _Memory] = {}
        self._names = itertools.count()

    def allocate(self, request: Any, context: Any) -> Any:
        try:
            memory = _Memory(self._live, request.size)
        except MemoryError as error:
            return buffer_pb2.AllocateResponse(msg=str(error))
        name = f"buffer{next(self._names)}"
        self._buffers[name] = memory
        return buffer_pb2.AllocateResponse(buffer_id=name)

    def write(self, request_iterator: Iterator[Any], context: Any) -> Any:
        offset = 0
        for request in request_iterator:
            data = np.frombuffer(request.data, np.uint8)
            self._buffers[request.buffer_id].cache[offset : offset + data.size] = data
            offset += data.size
        return buffer_pb2.BufferWriteResponse()

    def read(self, request: Any, context: Any) -> Iterator[Any]:
        cache = self._buffers[request.buffer_id].cache
        for offset in range(0, cache.size, CHUNK):
            yield buffer_pb2.BufferReadResponse(data=cache[offset : offset + CHUNK].tobytes())

    def flush(self, request: Any, context: Any) -> Any:
        memory = self._buffers[request.buffer_id]
        memory.dram[:] = memory.cache
        return buffer_pb2.FlushResponse()

    def invalidate(self, request: Any, context: Any) -> Any:
        memory = self._buffers[request.buffer_id]
        memory.cache[:] = memory.dram
        return buffer_pb2.InvalidateResponse()

    def physical_address(self, request: Any, context: Any) -> Any:
        if request.buffer_id not in self._buffers:
            return buffer_pb2.AddressResponse(msg=f"no buffer {request.buffer_id!r}")
        return buffer_pb2.AddressResponse(address=self._buffers[request.buffer_id].address)

    def freebuffer(self, request: Any, context: Any) -> Any:
        memory = self._buffers.pop(request.buffer_id, None)
        if memory is not None:
            self._live.free(memory.address)
        return buffer_pb2.FreeBufferResponse()
