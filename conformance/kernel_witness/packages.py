# SPDX-License-Identifier: Apache-2.0
"""Fetching Debian packages and unpacking them into a folder of our own; nothing is installed, no root is needed.

The package lists of the system are used; where they lack something, lists of our own are fetched from the same
sources, once. A newer release of Debian is reached through the same mirror, as if nothing of it were installed.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from kernel_witness.failure import WitnessError, run

__all__ = ["Archive"]


class Archive:
    """What the package sources of this machine offer.

    `cache` holds the packages as fetched (debs/), what they hold (one folder for each purpose), and, if need be,
    package lists (apt/).
    """

    def __init__(self, cache: Path, options: Sequence[str] = ()) -> None:
        """Take more options of apt's from who knows them: `newer_release` does."""
        self._cache = cache
        self._debs = cache / "debs"
        self._debs.mkdir(parents=True, exist_ok=True)
        for command in ("apt-get", "apt-cache", "dpkg-deb"):
            if shutil.which(command) is None:
                raise WitnessError(
                    f"QEMU and the kernels come as Debian packages, and {command} is not on this machine; "
                    "run this on Debian, or in a Debian container"
                )
        sandbox = f"APT::Sandbox::User={os.environ.get('USER', 'root')}"
        self._options = ["-o", "Debug::NoLocking=1", "-o", sandbox, *options]
        self._fetched = False
        own_lists = cache / "apt" / "lists"
        if own_lists.exists():
            self._use_own_lists()

    def newer_release(self, suites: Sequence[str]) -> Archive:
        """Return what these suites have, the last one first, on the mirror of this machine's own release."""
        folder = self._cache / suites[-1]
        folder.mkdir(parents=True, exist_ok=True)
        told = run(
            ["apt-get", "indextargets", "--format", "$(REPO_URI) $(CODENAME) $(COMPONENT)"], "reading the sources"
        )
        mirrors = [
            uri for uri, codename, part in map(str.split, told.splitlines()) if part == "main" and "-" not in codename
        ]
        if not mirrors:
            raise WitnessError(
                "the package sources of this machine name no release of Debian: there is no mirror to ask"
            )
        sources = folder / "sources.list"
        sources.write_text("".join(f"deb {mirrors[0]} {suite} main\n" for suite in suites), encoding="ascii")
        places = {
            "Dir::Etc::sourcelist": sources,
            "Dir::Etc::sourceparts": folder / "none",
            "Dir::State::status": "/dev/null",
        }
        archive = Archive(folder, [part for name, value in places.items() for part in ("-o", f"{name}={value}")])
        if not (folder / "apt" / "lists").exists():
            archive._fetch_own_lists()
        # Only now: apt refuses a release of which it has no list.
        archive._options += ["-o", f"APT::Default-Release={suites[-1]}"]
        return archive

    def search(self, pattern: str) -> list[str]:
        """Return the names of packages that match a regular expression as a whole."""
        found = self._search(pattern)
        if not found and self._fetch_own_lists():
            found = self._search(pattern)
        return found

    def _search(self, pattern: str) -> list[str]:
        told = self._apt_cache("search", "--names-only", f"^{pattern}$")
        return [line.split(" - ")[0] for line in told.splitlines()]

    def depends(self, package: str, pattern: str) -> list[str]:
        """Return the direct dependencies of a package that match a regular expression as a whole."""
        told = self._apt_cache("depends", package)
        names = re.findall(r"^\s*(?:Pre)?Depends: (\S+)$", told, re.MULTILINE)
        return [name for name in names if re.fullmatch(pattern, name)]

    def missing_for(self, *packages: str) -> list[str]:
        """Return what an installation of some packages would add to this machine, themselves included."""
        empty = self._cache / "apt" / "none"
        (empty / "partial").mkdir(parents=True, exist_ok=True)
        options = [*self._options, "-o", f"Dir::Cache::archives={empty}", "--print-uris", "-qq"]
        command = ["apt-get", *options, "install", "--no-install-recommends", *packages]
        try:
            told = run(command, f"finding out what {packages[0]} needs")
        except WitnessError:
            if not self._fetch_own_lists():
                raise
            return self.missing_for(*packages)
        return re.findall(r"^'\S+' ([^_\s]+)_", told, re.MULTILINE)

    def unpack(self, packages: Iterable[str], name: str) -> Path:
        """Fetch packages and unpack them into the cache's folder `name`; at once where that was done before."""
        folder = self._cache / name
        wanted = sorted(set(packages))
        done = folder / ".packages"
        if done.exists() and done.read_text(encoding="ascii").split() == wanted:
            return folder
        if folder.exists():
            shutil.rmtree(folder)
        half_done = self._cache / f"{name}.unpacking"
        shutil.rmtree(half_done, ignore_errors=True)
        half_done.mkdir(parents=True)
        for package, fetched in self._fetch(wanted).items():
            run(["dpkg-deb", "-x", str(fetched), str(half_done)], f"unpacking {package}")
        (half_done / ".packages").write_text("\n".join(wanted) + "\n", encoding="ascii")
        half_done.rename(folder)
        return folder

    def _fetch(self, packages: Sequence[str]) -> dict[str, Path]:
        """Return the file of each package, fetching what is missing: all at once, since apt takes seconds to start."""
        if missing := self._not_here(packages):
            try:
                self._download(missing)
            except WitnessError:
                if not self._fetch_own_lists():
                    raise
                self._download(self._not_here(packages))
        return {package: self._files(package)[-1] for package in packages}

    def _not_here(self, packages: Sequence[str]) -> list[str]:
        return [package for package in packages if not self._files(package)]

    def _files(self, package: str) -> list[Path]:
        return sorted(self._debs.glob(f"{package}_*.deb"))

    def _download(self, packages: Sequence[str]) -> None:
        what = f"fetching {packages[0]}" + (f" and {len(packages) - 1} more" if len(packages) > 1 else "")
        run(["apt-get", *self._options, "-qq", "download", *packages], what, cwd=self._debs)

    def _apt_cache(self, *arguments: str) -> str:
        return run(["apt-cache", *self._options, *arguments], f"apt-cache {arguments[0]}")

    def _use_own_lists(self) -> None:
        apt = self._cache / "apt"
        self._options += ["-o", f"Dir::State::lists={apt / 'lists'}", "-o", f"Dir::Cache={apt / 'cache'}"]

    def _fetch_own_lists(self) -> bool:
        """Fetch package lists of our own; False where this was done already and did not help."""
        if self._fetched:
            return False
        self._fetched = True
        apt = self._cache / "apt"
        shutil.rmtree(apt / "lists.new", ignore_errors=True)
        (apt / "lists.new" / "partial").mkdir(parents=True, exist_ok=True)
        (apt / "cache").mkdir(parents=True, exist_ok=True)
        options = ["-o", f"Dir::State::lists={apt / 'lists.new'}", "-o", f"Dir::Cache={apt / 'cache'}"]
        run(["apt-get", *self._options, *options, "-qq", "update"], "fetching the package lists")
        if (apt / "lists").exists():
            shutil.rmtree(apt / "lists")
        else:
            self._use_own_lists()
        (apt / "lists.new").rename(apt / "lists")
        return True
