"""python -m ccproxyd.ctl: the same as ccproxyctl."""

import sys

from ccproxyd.ctl import main

if __name__ == "__main__":
    sys.exit(main())
