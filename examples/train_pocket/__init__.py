"""Training of the embedded model: generated conversations, tokenizer, model, trainer, evaluation, export.

Everything that the model learns is made here. It drives the tools of ``agenthost.tools`` with their exact names,
schemas and result texts, and tools that it has never seen, whose schemas it must read. See README.md for the commands.
"""
