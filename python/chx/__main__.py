# SPDX-License-Identifier: MIT
"""`python -m chx`: the command chx that is bundled with the package. It takes the interpreter's place, so that its exit status is what
the caller sees and signals reach it.
"""
import os
import signal
import sys


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    program = os.path.join(here, "bin", "chx")
    if not os.access(program, os.X_OK):
        sys.exit("chx: %s is not there or not executable, want the package as its wheel installs it" % program)
    libraries = [os.path.join(here, "lib"), os.environ.get("LD_LIBRARY_PATH")]
    os.environ["LD_LIBRARY_PATH"] = os.pathsep.join(filter(None, libraries))
    for ignored in (signal.SIGPIPE, signal.SIGXFSZ):  # by Python, and what it starts would, too
        signal.signal(ignored, signal.SIG_DFL)
    os.execv(program, ["chx"] + sys.argv[1:])


if __name__ == "__main__":
    main()
