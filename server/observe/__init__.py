"""What operators see of a running server: metrics, traces, and a log of every tool call."""
