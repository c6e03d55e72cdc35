"""``python -m vs_sr`` is ``vs-sr``."""

import sys

from vs_sr.cli import main

sys.exit(main())
