"""The only code that knows Redis: keys, scripts, connections, servers, codec."""
