"""python -m ccproxyd.gateway: the daemon starts it with two inherited file descriptors."""

import sys

from ccproxyd.gateway.server import main

if __name__ == "__main__":
    sys.exit(main())
