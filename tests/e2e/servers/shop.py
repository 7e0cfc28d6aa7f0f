"""A small external MCP server for end-to-end tests."""

from __future__ import annotations

from mcp.server import MCPServer

server = MCPServer("shop", version="1")
PRICES = {"tea": 4.5, "coffee": 7.25, "sugar": 2.1}


@server.tool()
def get_price(product: str) -> str:
    """Get the price of a product of the shop, in euros."""
    price = PRICES.get(product.lower())
    return f"{product} costs {price} euros" if price is not None else f"no such product: {product}"


if __name__ == "__main__":
    server.run("stdio")
