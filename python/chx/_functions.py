# SPDX-License-Identifier: MIT
"""The functions that are made of others, which chx.__getattr__ looks up here at their first use."""
from chx import _creation, _elementwise, _products, _search, _shapes, _statistics

MODULES = (_creation, _elementwise, _products, _search, _shapes, _statistics)
TABLE = {name: getattr(m, name) for m in MODULES for name in m.__all__}
