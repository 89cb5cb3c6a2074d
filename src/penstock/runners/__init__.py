"""Where attempts are made. Each module holds one runner; `wiring` imports them on use."""
