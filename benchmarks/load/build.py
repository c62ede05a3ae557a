"""Compile the C programs when they are needed.

A program is built into an ignored folder beside this file. Its name contains a digest
of its source, so it is built again only when the source has changed.
"""

import hashlib
import shutil
import subprocess
import tempfile
from pathlib import Path

_FOLDER = Path(__file__).with_name("build")


class NoCompiler(Exception):
    """Raised when there is no C compiler, or it refuses the program."""


def build(source: Path) -> Path:
    """Return the program of a source file. Raises NoCompiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        raise NoCompiler("there is no C compiler: apt-get install gcc libc6-dev")
    digest = hashlib.sha256(source.read_bytes()).hexdigest()[:12]
    program = _FOLDER / f"{source.stem}-{digest}"
    if program.exists():
        return program
    _FOLDER.mkdir(exist_ok=True)
    # Move the program when it is complete: another process may be building the same.
    with tempfile.TemporaryDirectory(dir=_FOLDER) as folder:
        made = Path(folder, source.stem)
        done = subprocess.run(
            [compiler, "-O2", "-Wall", "-Wextra", "-o", str(made), str(source)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise NoCompiler(f"{compiler} refuses {source.name}: {done.stderr.strip()}")
        made.replace(program)
    return program
