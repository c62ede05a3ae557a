"""Apache with mod_wsgi, from Debian's packages, for the live tests' site.

Debian's mod_wsgi embeds Debian's Python. It can run the packages of the tests only if
the tests run on the same version of Python.
"""

import os
import shutil
import sys
from pathlib import Path

from tests.kit.ports import HOST
from tests.wire.real_parts import absent

_ROOT = Path(__file__).parents[2]
_MODULES = Path("/usr/lib/apache2/modules")

# The account of a server that root starts. Apache never answers requests as root.
_ACCOUNT = "www-data"

_CONFIG = """
ServerRoot {folder}
ServerName localhost
PidFile {folder}/httpd.pid
ErrorLog /dev/stderr
Listen {host}:{port}
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule wsgi_module {modules}/mod_wsgi.so
{account}
# Bearer tokens reach the app only with this line.
WSGIPassAuthorization On
{workers}
WSGISocketPrefix {folder}/wsgi
WSGIDaemonProcess app processes=1 {threads} python-path={path}
WSGIScriptAlias / {script} process-group=app application-group=%{{GLOBAL}}
<Directory {scripts}>
Require all granted
</Directory>
"""


# Few workers in one process of Apache. By default 150 in several.
_WORKERS = """
ServerLimit 1
ThreadsPerChild {count}
MaxRequestWorkers {count}
"""


def prepare(folder: Path, *, port: int, args: str) -> None:
    """Write the configuration of a server.

    ``args`` is such as ``threads=5`` or ``threads=5 workers=4``: the threads of the
    daemon process, and the requests that Apache itself serves at once.
    """
    threads, _, workers = args.partition(" workers=")
    version = "{}.{}".format(*sys.version_info)
    if not (_MODULES / f"mod_wsgi.so-{version}").exists():
        absent(
            f"mod_wsgi for Python {version}",
            remedy="apt-get install apache2 libapache2-mod-wsgi-py3, whose Python has"
            " to be that of the tests",
        )
    is_root = os.geteuid() == 0
    script = Path(__file__).with_name("wsgi.py")
    packages = next(each for each in sys.path if each.endswith("site-packages"))
    text = _CONFIG.format(
        folder=folder,
        host=HOST,
        port=port,
        modules=_MODULES,
        account=f"User {_ACCOUNT}\nGroup {_ACCOUNT}" if is_root else "",
        threads=threads,
        workers=_WORKERS.format(count=workers) if workers else "",
        path=f"{_ROOT}:{packages}",
        script=script,
        scripts=script.parent,
    )
    (folder / "httpd.conf").write_text(text)
    if is_root:
        for path in (folder, *folder.iterdir()):
            shutil.chown(path, _ACCOUNT, _ACCOUNT)
