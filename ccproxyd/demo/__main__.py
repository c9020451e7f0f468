"""python -m ccproxyd.demo: `ccproxyd --demo` starts it with two inherited file descriptors."""

import sys

from ccproxyd.demo.server import main

if __name__ == "__main__":
    sys.exit(main())
