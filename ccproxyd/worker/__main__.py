"""`python -m ccproxyd.worker`, as the daemon starts it."""

import sys

from ccproxyd.worker.process import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
