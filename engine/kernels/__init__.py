"""Small Triton kernels of the CUDA hot path. Each has the plain torch form beside it in ``tests/engine/kernels``.

Importing a module of this package loads triton; ``layers.functional`` does so only where tensors are on CUDA.
"""
