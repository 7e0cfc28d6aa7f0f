"""External MCP servers for the model: the operator's own, and those that requests name."""
