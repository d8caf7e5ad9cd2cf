# SPDX-License-Identifier: MPL-2.0
"""scripts/align-corpus.py as a module: its name is none."""

import importlib.util
import os
import sys

_path = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "align-corpus.py")
_spec = importlib.util.spec_from_file_location("corpus", _path)
_module = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_module)
sys.modules[__name__] = _module
