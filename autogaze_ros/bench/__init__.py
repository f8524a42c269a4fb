"""Benchmarks. Each returns a dictionary ready for JSON that names the machine, the settings and the percentiles."""
