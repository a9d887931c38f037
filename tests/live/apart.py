"""Runs a command in pid, mount and network namespaces of its own, as in a container.

    apart.py ROOT COMMAND ARGS      where ROOT is an empty folder: / of the host is there; /proc is that of the command

Passes SIGINT on and ends with the exit status of the command.
"""

import ctypes
import os
import signal
import subprocess
import sys

CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWNET = 0x00020000, 0x20000000, 0x40000000


def unshare(flags):
    if ctypes.CDLL(None, use_errno=True).unshare(flags) != 0:
        sys.exit(f"apart.py: unshare: {os.strerror(ctypes.get_errno())}")


def main():
    root, *command = sys.argv[1:]
    unshare(CLONE_NEWNS | CLONE_NEWNET)
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    subprocess.run(["mount", "--rbind", "/", root], check=True)
    # Whoever is forked first after this is the first process of the namespace, and it lives as long as that.
    unshare(CLONE_NEWPID)
    child = os.fork()
    if child == 0:
        if os.fork() == 0:
            os.execvp("mount", ["mount", "-t", "proc", "none", "/proc"])
        os.wait()
        os.execvp(command[0], command)
    signal.signal(signal.SIGINT, lambda *_: os.kill(child, signal.SIGINT))
    _, status = os.waitpid(child, 0)
    sys.exit(os.waitstatus_to_exitcode(status))


main()
