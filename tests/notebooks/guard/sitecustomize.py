"""Python starts with this when the folder is on PYTHONPATH: loopback only, at most 2 GB of memory."""

import sys


def refuse_outside(event, arguments):
    if event == "socket.getaddrinfo":
        host = arguments[0]
    elif event in {"socket.connect", "socket.sendto"} and isinstance(arguments[1], tuple):
        host = arguments[1][0]
    else:
        return
    if isinstance(host, bytes):
        host = host.decode()
    if host and host not in {"localhost", "::1", "0.0.0.0", "::"} and not host.startswith("127."):
        raise OSError(f"the network is off in this test, and something asked for {host}")


sys.addaudithook(refuse_outside)

if sys.platform == "linux":
    import resource

    # data, not address space: what is written to counts, not what a library merely reserves
    resource.setrlimit(resource.RLIMIT_DATA, (2 << 30, 2 << 30))
