"""The hosted loop: the model calls our tools until it answers."""
