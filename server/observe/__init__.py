"""What operators see of a running server: metrics, and a log of every tool call."""
