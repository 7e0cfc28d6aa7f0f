"""Tools of type ``mcp`` in responses: external servers, what they offer, and the approval of their calls.

Shapes and meaning follow OpenAI's: tools are listed once for a conversation, as an item; a call that must be approved
ends its response, and runs in the next one. Nothing is remembered besides the items, so it is the same whether the
server or the client keeps them.
"""
