"""Loaded by the notebooks' kernels: a socket to anywhere but this machine is an error."""

import socket

_connect = socket.socket.connect


def _local_only(self, address):
    if self.family in (socket.AF_INET, socket.AF_INET6) and not str(address[0]).startswith(
        ("127.", "::1", "localhost")
    ):
        raise OSError(f"the notebooks run offline, and something asked for {address}")
    return _connect(self, address)


socket.socket.connect = _local_only
