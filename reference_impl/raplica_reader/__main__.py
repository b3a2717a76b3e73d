# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: PTH100, PTH118, PTH120
"""Start the command, also from a copy of this folder that is not installed.

`python3 -I -S DIR/raplica_reader list` starts the folder itself, isolated: nothing comes from the environment, the
current directory or site-packages. Python then takes the folder for a pile of scripts, so the package is loaded here
by its place. Nothing is added to the search path: whatever lies beside the folder cannot stand in for a module of the
standard library. `python3 -S -m raplica_reader list` works from the directory that holds the folder. (`-I` and `-m`
together find installed packages only, because `-I` leaves the current directory out.)
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - a copied folder has no installer that would refuse
    sys.exit("raplica-reader: needs Python 3.11 or newer; this is %d.%d" % sys.version_info[:2])  # noqa: UP031

if not __package__:
    import importlib.util
    import os.path

    folder = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry) != folder]
    spec = importlib.util.spec_from_file_location("raplica_reader", os.path.join(folder, "__init__.py"))
    if spec is None or spec.loader is None:
        raise ImportError(f"{folder} is not the folder of raplica_reader")
    sys.modules["raplica_reader"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules["raplica_reader"])

from raplica_reader.cli import main

if __name__ == "__main__":
    sys.exit(main())
