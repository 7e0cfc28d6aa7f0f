"""Anthropic's messages API: brought into the terms of a chat, and answered in its own."""
