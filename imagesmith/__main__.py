"""`python -m imagesmith` is the same as `imagesmith`."""

import sys

from imagesmith.cli.main import main

sys.exit(main())
