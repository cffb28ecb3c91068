"""Benchmarks: speed against named alternatives, growth with the size of the work, and the explorer's latency."""
