"""The blocking side. Every file but io.py is generated from the file of that name in _aio by `./dev generate`."""
