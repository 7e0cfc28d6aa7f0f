"""Benchmarks of the engine alone: reproducible commands behind ``agenthost bench``."""
