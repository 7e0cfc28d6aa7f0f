"""The garbage collector of a process that has loaded what it will keep."""

import gc


def freeze_loaded() -> None:
    """Exempt every object that there is from collection, for good.

    A full collection visits them all: with torch loaded that stops a process for some 200 ms, in the middle of a step;
    and forked children copy every page that they visit.
    """
    gc.collect()
    gc.freeze()
