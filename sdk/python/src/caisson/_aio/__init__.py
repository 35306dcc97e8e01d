"""The asyncio side. Every file but io.py is also the source of the file of that name in _sync, by `./dev generate`."""
