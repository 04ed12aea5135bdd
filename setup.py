"""The build script: hands the engine's cffi builder to setuptools.

Everything declarative stands in `pyproject.toml`. A PEP 517 build runs this file without the repository on `sys.path`,
and the builder imports `cores`, so the path is put there first.
"""

import sys
from pathlib import Path

from setuptools import setup

HERE = Path(__file__).resolve().parent
if str(HERE) not in sys.path:
    sys.path.insert(0, str(HERE))

setup(cffi_modules=["emu/engine/build.py:ffi_x86", "emu/engine/build.py:ffi_ppc", "emu/engine/build.py:ffi_host"])
