"""python -m ccproxyd: the daemon in the foreground."""

import sys

from ccproxyd.daemon import main

if __name__ == "__main__":
    sys.exit(main())
