"""What runs beyond the server: inside the sandbox, or on the way into it. Standard library only, see `program.py`.

Every Python since 3.9 will do. The server imports nothing of it but names and the Landlock version.
"""
