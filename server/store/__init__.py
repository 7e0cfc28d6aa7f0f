"""What outlives a request and a restart: responses, conversations, files, containers, and the token ids of turns."""

from .database import Store, StoreError

__all__ = ["Store", "StoreError"]
