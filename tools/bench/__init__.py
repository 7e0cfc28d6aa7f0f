"""Measurements of the tools, behind ``agenthost bench``."""
