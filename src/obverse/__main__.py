"""`python -m obverse`, for launchers that want a module."""

import sys

from obverse.cli import main

sys.exit(main())
