"""Self-signed certificates for the tests' TLS servers."""

import shutil
import subprocess
from pathlib import Path

from tests.wire.real_parts import absent


def make_certificate(folder: Path) -> None:
    """Write ``cert.pem`` and ``key.pem`` for localhost, as a name and as an address."""
    if shutil.which("openssl") is None:
        absent("openssl", remedy="apt-get install openssl")
    words = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
    words += " -days 1 -subj /CN=localhost"
    words += " -addext subjectAltName=DNS:localhost,IP:127.0.0.1"
    words += " -keyout key.pem -out cert.pem"
    subprocess.run(
        words.split(), cwd=folder, check=True, capture_output=True, timeout=60
    )
