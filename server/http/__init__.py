"""What every route needs of HTTP: who may call, how bodies are read, how events are sent."""
