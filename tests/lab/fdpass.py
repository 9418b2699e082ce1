# SPDX-License-Identifier: GPL-3.0-or-later
"""``fdpass.py SOCKET``: OpenSSH's ProxyCommand (with ProxyUseFdpass) that connects to a unix socket and hands it over.

ssh reads the descriptor from the socket that is this program's standard output (ssh_config(5)).
"""

import os
import socket
import sys

place, name = os.path.split(sys.argv[1])
link = socket.socket(socket.AF_UNIX)
# By the directory's descriptor: a socket's path has room for 107 bytes only.
link.connect(f"/proc/self/fd/{os.open(place, os.O_PATH)}/{name}")
socket.send_fds(socket.socket(fileno=1), [b"x"], [link.fileno()])
