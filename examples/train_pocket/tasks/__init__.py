"""Task generators by area. Each takes a :class:`~train_pocket.scene.Scene` and returns a task."""
