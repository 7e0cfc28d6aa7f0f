"""OpenAI's Responses API: stored answers, tools that run here, streams that can be resumed.

Shapes follow OpenAI's API reference and the Open Responses specification.
"""
