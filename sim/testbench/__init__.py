"""Test benches in cocotb: streams, memory with latency and back pressure, and the runtime on them."""
