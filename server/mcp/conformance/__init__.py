"""What the official conformance suite calls: the tools, resources and prompts that its scenarios name.

Served instead of our own with ``agenthost serve --conformance-fixtures``, through the same endpoint, guard and tasks.
"""
