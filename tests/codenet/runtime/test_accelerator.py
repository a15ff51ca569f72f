# SPDX-License-Identifier: Apache-2.0
"""The driver against a device that stores what is written, and fails in every way a device can."""

import numpy as np
import pytest

from codenet.config import AcceleratorConfig
from codenet.errors import CodenetError, DeviceError, DeviceTimeout, FormatError
from codenet.isa import ISA_VERSION, Descriptor, ErrorCause
from codenet.registers import PROFILE_WORDS, ProfileCounter
from codenet.runtime.accelerator import Accelerator
from tests.codenet.fakes import HEATMAP, HEIGHT, WIDTH, FakeDevice, detector_program, write_outputs

IMAGE = np.arange(4 * HEIGHT * 4 * WIDTH * 3, dtype=np.uint8).reshape(4 * HEIGHT, 4 * WIDTH, 3).view(np.int8)


@pytest.fixture
def program():
    return detector_program()


@pytest.fixture
def device(program):
    return FakeDevice(program.config)


def test_first_the_device_is_checked_then_memory_is_taken(program, device):
    with Accelerator(device, program) as accelerator:
        assert accelerator.memory.shape == (program.memory_bytes,)
        accelerator.start()
        assert device.registers["BASE_ADDRESS"] == device.buffers[0].address
        assert device.registers["IRQ_ENABLE"] == 1
        assert device.registers["PROGRAM_OFFSET"] == program.program_offset
    device.registers["VERSION"] = 99
    with pytest.raises(DeviceError):
        Accelerator(device, program)
    assert len(device.buffers) == 1


@pytest.mark.parametrize("value", [0, 0xFFFFFFFF, 0x45444F43])
def test_something_else_answers(program, device, value):
    device.registers["IDENTITY"] = value
    with pytest.raises(DeviceError, match=f"{value:#010x}, expected 0x434f4445"):
        Accelerator(device, program)
    assert not device.writes, "nothing may be written to an unknown device"


def test_another_version(program, device):
    device.registers["VERSION"] = 99
    with pytest.raises(DeviceError, match=f"version 99, but program 'by hand' is of version {ISA_VERSION}"):
        Accelerator(device, program)


def test_another_configuration(program):
    with pytest.raises(DeviceError, match=r"outputs=8, window_depth=128.*compiled for outputs=32, window_depth=1024"):
        Accelerator(FakeDevice(AcceleratorConfig.small()), program)


def test_configuration_registers_without_sense(program, device):
    device.registers["CONFIG0"] = 0xFFFFFFFF
    with pytest.raises(DeviceError, match="make no sense"):
        Accelerator(device, program)


def test_other_lanes(program, device):
    device.registers["CONFIG0"] += 1 << 8
    with pytest.raises(DeviceError, match="CONFIG0"):
        Accelerator(device, program)


def test_frame_is_written_and_flushed_before_the_start(program, device):
    def compute(memory):
        assert np.array_equal(memory[: len(program.image)], np.frombuffer(program.image, np.uint8))
        layout = program.input
        rows = memory[layout.offset :][: layout.size].view(np.int8).reshape(-1, layout.row_bytes)
        pixels = rows[1:, 4:-4].reshape(layout.height, layout.width, 4)[..., :3]
        assert np.array_equal(pixels, IMAGE)
        return 0

    device.compute = compute
    with Accelerator(device, program) as accelerator:
        outputs = accelerator.run(IMAGE)
    assert len(outputs.peaks) == 0
    assert outputs.cycles == 4321


def test_outputs_are_read_after_invalidating(program, device):
    device.compute = write_outputs([(4, 1, 2, 77), (0, 2, 0, -5)], lane_0=10, lane_1=20, lane_4=30, lane_6=40)
    with Accelerator(device, program) as accelerator:
        outputs = accelerator.run(IMAGE)
        assert outputs.peaks.tolist() == [(4, 1, 2, 77), (0, 2, 0, -5)]
        assert outputs.peaks_found == 2
        y, x = outputs.peaks["y"], outputs.peaks["x"]
        assert outputs.at("size", y, x).tolist() == [[24, 14], [20, 10]]
        assert outputs.at("offset", y, x).tolist() == [[34, 44], [30, 40]]
        assert outputs.read("size").shape == (HEIGHT, WIDTH, 2)
        assert np.array_equal(outputs.read("size")[y, x], outputs.at("size", y, x))
        assert np.array_equal(accelerator.tensor("wh"), outputs.read("size"))
        # What the device writes later is seen too, not what the host's cache has.
        device.buffers[0].seen_by_device[:] = 3
        assert (accelerator.tensor("wh") == 0x303).all()
        with pytest.raises(FormatError, match="'depth': the program has heatmap, offset, size"):
            outputs.read("depth")


def test_peaks_are_a_copy(program, device):
    device.compute = write_outputs([(1, 1, 0, 9)])
    with Accelerator(device, program) as accelerator:
        first = accelerator.run(IMAGE).peaks
        device.compute = write_outputs([(2, 2, 2, 8)])
        accelerator.run(IMAGE)
    assert first.tolist() == [(1, 1, 0, 9)]


def test_more_peaks_than_room(program, device):
    device.compute = write_outputs([(n, 0, 0, n) for n in range(5)])
    with Accelerator(device, program) as accelerator:
        outputs = accelerator.run(IMAGE)
    assert (len(outputs.peaks), outputs.peaks_found) == (4, 5)


@pytest.mark.parametrize(
    ("threshold", "expected"),
    [
        (None, -300),
        (-32768, -32768),
        (32767, 32767),
        (np.int16(5), 5),
        (0, 0),
        ({"score": 0.5}, 0),
        ({"score": 0.75}, 282),
        ({"score": np.float32(0.5)}, 0),
    ],
)
def test_threshold_reaches_the_descriptor(program, device, threshold, expected):
    seen = []

    def compute(memory):
        seen.append(Descriptor.decode(memory[:128].tobytes()))
        return 0

    device.compute = compute
    with Accelerator(device, program) as accelerator:
        accelerator.run(IMAGE, 1000)
        accelerator.run(IMAGE, **threshold if isinstance(threshold, dict) else {"threshold": threshold})
    assert seen[0].peak_threshold == 1000
    assert seen[1].peak_threshold == expected  # 0.75: ceil(ln 3 * 256)
    assert seen[1].peak_capacity == program.descriptors[0].peak_capacity


@pytest.mark.parametrize(
    "wrong",
    [{"threshold": value} for value in (32768, -32769, 0.0, 0.3, 1.0)]
    + [{"score": value} for value in (0.0, 1.0, -0.5, float("nan"), 7)],
)
def test_threshold_out_of_range(program, device, wrong):
    (value,) = wrong.values()
    with Accelerator(device, program) as accelerator, pytest.raises(CodenetError, match=str(value)):
        accelerator.run(IMAGE, **wrong)


def test_threshold_twice(program, device):
    with Accelerator(device, program) as accelerator, pytest.raises(FormatError, match="5 and score 0.3: .* one of"):
        accelerator.run(IMAGE, 5, score=0.3)


@pytest.mark.parametrize("image", [IMAGE.view(np.uint8), IMAGE[:-1], IMAGE[..., :2], IMAGE[None]])
def test_image_of_another_kind(program, device, image):
    with Accelerator(device, program) as accelerator, pytest.raises(FormatError, match=r"int8 \[12, 20, 3\]"):
        accelerator.run(image)


@pytest.mark.parametrize(("status", "said"), [(0, "STATUS 0x0"), (2 | 4 | ErrorCause.INPUT_READ << 8, "INPUT_READ")])
def test_end_that_is_none_or_has_an_error_too(program, device, monkeypatch, status, said):
    """A frame that ended without being done (somebody reset the device), and one that is done with an error."""
    with Accelerator(device, program) as accelerator:
        with monkeypatch.context() as patch:
            patch.setattr(device, "wait", lambda timeout: device.registers.update(STATUS=status))
            with pytest.raises(DeviceError, match=f"stopped: .*{said}"):
                accelerator.run(IMAGE)
        accelerator.run(IMAGE)


@pytest.mark.parametrize("cause", [ErrorCause.BAD_DESCRIPTOR, ErrorCause.OUTPUT_WRITE, ErrorCause.WATCHDOG])
def test_error_names_step_and_cause_and_leaves_the_device_usable(program, device, cause):
    with Accelerator(device, program) as accelerator:
        device.fail = cause
        with pytest.raises(
            DeviceError, match=rf"step 0 'peaks' of 1, cause {cause.name}, 1 steps finished, 4321 cycles"
        ):
            accelerator.run(IMAGE)
        device.fail = None
        accelerator.run(IMAGE)


def test_error_of_unknown_cause_and_step(program, device):
    with Accelerator(device, program) as accelerator:
        device.fail, device.fail_step = 77, 500
        with pytest.raises(DeviceError, match=r"step 500 of 1, cause unknown \(77\)"):
            accelerator.run(IMAGE)


def test_device_that_never_finishes(program, device):
    with Accelerator(device, program, timeout=0.01) as accelerator:
        device.silent = True
        with pytest.raises(DeviceTimeout, match=r"within 0.01 s: STATUS 0x00000001, step 0 'peaks' of 1, cause NONE"):
            accelerator.run(IMAGE)
        device.silent = False
        accelerator.run(IMAGE)


def test_device_that_does_not_leave_reset(program, device, monkeypatch):
    monkeypatch.setattr("codenet.devices.control.RESET_SECONDS", 0.01)
    device.stuck = True
    with pytest.raises(DeviceError, match="still busy"):
        Accelerator(device, program)
    assert not device.buffers


def test_interrupt_left_from_before_is_not_taken_for_the_end(program, device):
    device.registers["IRQ_STATUS"] = 1
    with Accelerator(device, program, timeout=0.01) as accelerator:
        device.registers["IRQ_STATUS"] = 1
        device.silent = True
        with pytest.raises(DeviceTimeout):
            accelerator.run(IMAGE)


def test_profile(program, device):
    with Accelerator(device, program) as accelerator:
        accelerator.run(IMAGE)
        (step,) = accelerator.profile()
    assert (step.index, step.name) == (0, "peaks")
    assert step.counters == tuple(range(1000, 1000 + PROFILE_WORDS))
    assert step[ProfileCounter.DRAIN] == 1005
    assert step.cycles == sum(range(1000, 1006))


def test_closed_accelerator(program, device):
    accelerator = Accelerator(device, program)
    accelerator.close()
    accelerator.close()
    assert device.buffers[0].closed == 1
    assert device.closed == 0, "the device is the caller's"
    with pytest.raises(DeviceError, match="closed"):
        accelerator.run(IMAGE)


def test_tensor_that_may_be_gone(device):
    base = detector_program()
    early = base.outputs["size"]
    early = type(early)(**vars(early) | {"name": "early", "live_until": 0})
    program = detector_program(
        descriptors=base.descriptors * 2,
        step_names=("first", "peaks"),
        tensors=(*base.tensors, early),
        step_macs=(0, 0),
    )
    with Accelerator(device, program) as accelerator:
        assert accelerator.tensor("early").shape == (HEIGHT, WIDTH, 2)  # before any frame: whatever is there
        accelerator.run(IMAGE)
        with pytest.raises(FormatError, match="'early': step 0 of 2 was the last to read it"):
            accelerator.tensor("early")
        with pytest.raises(FormatError, match="'other'"):
            accelerator.tensor("other")
        accelerator.tensor("wh")


def test_stopping_after_steps_needs_a_device_that_can(program, device):
    with Accelerator(device, program) as accelerator:
        with pytest.raises(DeviceError, match="cannot stop after each step"):
            accelerator.run(IMAGE, on_step=print)
        device.reports_steps = True
        seen = []

        def compute(memory):
            memory[HEATMAP] = 9
            device.on_step(0)
            return 0

        device.compute = compute
        accelerator.run(IMAGE, on_step=lambda step: seen.append((step, int(accelerator.memory[HEATMAP]))))
    assert seen == [(0, 9)]
    assert device.on_step is None


def test_device_that_fails_while_waiting_is_reset(program, device, monkeypatch):
    def fail(timeout):
        raise DeviceError("stray access")

    with Accelerator(device, program) as accelerator:
        with monkeypatch.context() as patch:
            patch.setattr(device, "wait", fail)
            device.silent = True
            with pytest.raises(DeviceError, match="stray access"):
                accelerator.run(IMAGE)
        device.silent = False
        accelerator.run(IMAGE)


def test_memory_is_shared_not_copied(program, device):
    with Accelerator(device, program) as accelerator:
        device.compute = write_outputs([])
        memory = accelerator.run(IMAGE).memory
        assert np.shares_memory(memory, device.buffers[0].array)
        assert HEATMAP < len(memory)


def prepared(value):
    return np.full((4 * HEIGHT, 4 * WIDTH, 3), value, np.uint8)


def test_a_frame_is_prepared_while_another_runs(program, device):
    """The input of the next frame and the outputs of the last one are apart from the frame that runs."""
    seen = []

    def compute(memory):
        layout = program.input
        seen.append(int(memory[layout.offset + layout.row_bytes + 4]))
        return write_outputs([(len(seen), 0, 0, 9)], lane_0=len(seen))(memory)

    device.compute = compute
    with Accelerator(device, program, frames=2) as accelerator:
        accelerator.pixels[..., :3] = prepared(11)
        accelerator.start()
        accelerator.pixels[..., :3] = prepared(22)
        assert accelerator.running
        first = accelerator.finish()
        accelerator.start()
        accelerator.pixels[..., :3] = prepared(33)
        second = accelerator.finish()
        assert first.read("size")[0, 0, 1] == 1, "outputs of a frame were lost while the next one ran"
        assert (second.read("size")[0, 0, 1], second.peaks["x"][0]) == (2, 2)
        accelerator.start()
        accelerator.finish()
    assert seen == [11, 22, 33]
    assert [buffer.closed for buffer in device.buffers] == [1, 1]


def test_one_frame_has_one_memory(program, device):
    with Accelerator(device, program) as accelerator:
        accelerator.start()
        with pytest.raises(DeviceError, match="a frame runs; finish it, or open the accelerator with frames=2"):
            accelerator.pixels  # noqa: B018
        with pytest.raises(DeviceError, match="runs already"):
            accelerator.start()
        accelerator.finish()
        with pytest.raises(DeviceError, match="no frame runs"):
            accelerator.finish()
        accelerator.pixels[...] = 0


def test_threshold_of_each_frame_in_flight(program, device):
    seen = []

    def compute(memory):
        seen.append(Descriptor.decode(memory[:128].tobytes()).peak_threshold)
        return 0

    device.compute = compute
    with Accelerator(device, program, frames=2) as accelerator:
        for threshold in (5, 6, 6, 7, None):
            accelerator.start(threshold)
            accelerator.finish()
    assert seen == [5, 6, 6, 7, -300]


def test_interrupt_from_the_keyboard_stops_the_frame(program, device, monkeypatch):
    def interrupted(timeout):
        raise KeyboardInterrupt

    with Accelerator(device, program) as accelerator:
        with monkeypatch.context() as patch:
            patch.setattr(device, "wait", interrupted)
            device.silent = True
            with pytest.raises(KeyboardInterrupt):
                accelerator.run(IMAGE)
        assert device.registers["STATUS"] == 0
        device.silent = False
        accelerator.run(IMAGE)


def test_close_stops_a_frame_before_its_memory_is_released(program, device):
    accelerator = Accelerator(device, program)
    device.silent = True
    accelerator.start()
    accelerator.close()
    assert device.writes[-2:] == [("CONTROL", 2), ("IRQ_STATUS", 1)]
    assert device.buffers[0].closed == 1


def test_error_and_then_a_reset_that_fails(program, device, monkeypatch):
    monkeypatch.setattr("codenet.devices.control.RESET_SECONDS", 0.01)
    with Accelerator(device, program) as accelerator:
        device.fail, device.stuck = ErrorCause.INPUT_READ, True
        with pytest.raises(DeviceError, match="cause INPUT_READ.*; and then: .*still busy"):
            accelerator.run(IMAGE)
        with pytest.raises(DeviceError, match="still busy"):
            accelerator.run(IMAGE)
        device.fail, device.stuck = None, False
        accelerator.run(IMAGE)  # Not before another reset: a start while the late one goes on would be ignored.


def test_device_that_was_switched_off_and_on_is_set_up_again(program, device, monkeypatch):
    """What a reset cannot end, the user ends by loading the bitstream; then all settings are gone."""
    monkeypatch.setattr("codenet.devices.control.RESET_SECONDS", 0.01)
    with Accelerator(device, program) as accelerator:
        settings = {name: device.registers[name] for name in ("PROGRAM_OFFSET", "WATCHDOG", "IRQ_ENABLE")}
        device.fail, device.stuck = ErrorCause.INPUT_READ, True
        with pytest.raises(DeviceError, match="load the bitstream again"):
            accelerator.run(IMAGE)
        device.fail, device.stuck = None, False
        device.registers |= {name: 0 for name in ("STATUS", *settings)}
        accelerator.run(IMAGE)
        assert settings["WATCHDOG"] == 1 << 28 and {name: device.registers[name] for name in settings} == settings


def test_only_what_changed_is_flushed(program, device, monkeypatch):
    flushed = []
    with Accelerator(device, program) as accelerator:
        buffer = device.buffers[0]
        monkeypatch.setattr(buffer, "flush", lambda parts=None: flushed.append(parts if parts is None else list(parts)))
        accelerator.run(IMAGE)
        accelerator.run(IMAGE)
        accelerator.run(IMAGE, 5)
        accelerator.run(IMAGE, 5)
    image = (program.input.offset, program.input.size)
    assert flushed == [None, [image], [image, (0, 128)], [image]]


def test_no_memory_for_the_second_frame(program, device, monkeypatch):
    allocate = device.allocate

    def once(size):
        if device.buffers:
            raise DeviceError("no memory left")
        return allocate(size)

    monkeypatch.setattr(device, "allocate", once)
    with pytest.raises(DeviceError, match="no memory left"):
        Accelerator(device, program, frames=2)
    assert device.buffers[0].closed == 1
