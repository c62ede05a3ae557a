"""Compile the programs in C, on the spot.

What is built lies in an ignored folder beside, named after its source's content, so
that it is built again when that has changed and at no other time.
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
    # Moved there when it is whole: somebody else may be building the same.
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
