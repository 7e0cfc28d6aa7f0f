"""Benchmarks of the server over HTTP and of an agent's life: reproducible commands behind ``agenthost bench``."""
