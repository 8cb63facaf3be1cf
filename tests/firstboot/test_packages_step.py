"""Packages of the first boot, by the real dpkg and apt on a root of their own: from the image, or from an archive."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from node_folder import NodeFolder
from publishers.debs import make_deb, publish_flat, serving

pytestmark = pytest.mark.skipif(not shutil.which("apt-get"), reason="needs apt")
FOLDER = "var/lib/imagesmith/packages"
POLICY = "usr/sbin/policy-rc.d"
# Says whether services were kept from starting while it was configured.
POSTINST = """\
#!/bin/sh
policy=$DPKG_ROOT/usr/sbin/policy-rc.d
if [ -x "$policy" ]; then "$policy" || echo $?; fi >"$DPKG_ROOT/policy-said"
"""


def made_deb(folder: Path, name: str, version: str = "1.0", *fields: str, conf: str = "") -> Path:
    return make_deb(folder, name, version, *fields, conf=conf, postinst=POSTINST)


@pytest.fixture
def dpkg(node: NodeFolder, tmp_path: Path) -> NodeFolder:
    """A node whose dpkg and apt are this machine's, on the node's root."""
    for folder in (
        *("var/lib/dpkg/info", "var/lib/dpkg/updates", "var/lib/apt/lists/partial", "var/cache/apt/archives/partial"),
        *("var/log/apt", "etc/apt/sources.list.d", "etc/apt/trusted.gpg.d", "etc/apt/apt.conf.d"),
        *("etc/apt/preferences.d", "usr/sbin"),
    ):
        (node.root / folder).mkdir(parents=True)
    node.write("var/lib/dpkg/status", "")
    options = f"--root={node.root} --force-script-chrootless --force-not-root --log={tmp_path}/dpkg.log"
    node.stand_in("dpkg", f'exec /usr/bin/dpkg {options} "$@"')
    node.stand_in("dpkg-query", f'exec /usr/bin/dpkg-query --admindir={node.root}/var/lib/dpkg "$@"')
    quoted = "".join(f'"{option}"; ' for option in options.split())
    conf = tmp_path / "apt.conf"
    conf.write_text(
        f'Dir "{node.root}";\nDir::State::status "{node.root}/var/lib/dpkg/status";\nAPT::Architecture "amd64";\n'
        f'APT::Sandbox::User "root";\nDPkg::Options {{ {quoted}}};\nDir::Bin::dpkg "/usr/bin/dpkg";\n'
    )
    node.environment["APT_CONFIG"] = str(conf)
    return node


Carry = Callable[..., Path]


@pytest.fixture
def carry(dpkg: NodeFolder, tmp_path: Path) -> Carry:
    """Put a package into the image: `carry(name, version, field...)`."""

    def put(name: str, version: str = "1.0", *fields: str, conf: str = "") -> Path:
        (dpkg.root / FOLDER).mkdir(parents=True, exist_ok=True)
        return shutil.copy(made_deb(tmp_path, name, version, *fields, conf=conf), dpkg.root / FOLDER)

    return put


def ask(node: NodeFolder, *names: str, source: str = "image") -> subprocess.CompletedProcess[str]:
    node.write("etc/imagesmith/packages.conf", f"PACKAGES='{' '.join(names)}'\nFROM='{source}'\n")
    return node.run("steps/25-packages")


def installed(node: NodeFolder) -> str:
    words = ["-W", "-f", "${Package}=${Version} ${db:Status-Status}\n"]
    argv = ["dpkg-query", f"--admindir={node.root}/var/lib/dpkg", *words]
    return subprocess.run(argv, capture_output=True, text=True, check=False).stdout


def test_a_node_without_packages_has_nothing_to_do(node: NodeFolder) -> None:
    done = node.run("steps/25-packages")
    assert (done.returncode, done.stdout) == (0, "no packages are asked for\n")


def test_what_the_image_carries_is_installed_with_what_it_needs(dpkg: NodeFolder, carry: Carry) -> None:
    carry("wanted", "1.0", "Depends: needed (>= 2)")
    carry("needed", "2.0")
    done = ask(dpkg, "wanted")
    assert done.returncode == 0, done.stdout + done.stderr
    assert installed(dpkg) == "needed=2.0 installed\nwanted=1.0 installed\n"
    assert not dpkg.exists(FOLDER), "they are spent"


def test_no_service_starts_meanwhile_and_later_ones_may(dpkg: NodeFolder, carry: Carry) -> None:
    carry("wanted")
    assert ask(dpkg, "wanted").returncode == 0
    assert dpkg.read("policy-said") == "101\n"
    assert not dpkg.exists(POLICY)


def test_a_policy_of_somebody_else_stays(dpkg: NodeFolder, carry: Carry) -> None:
    dpkg.write(POLICY, "#!/bin/sh\nexit 104\n").chmod(0o755)
    carry("wanted")
    assert ask(dpkg, "wanted").returncode == 0
    assert dpkg.read(POLICY) == "#!/bin/sh\nexit 104\n"
    assert dpkg.read("policy-said") == "104\n"


def test_a_second_run_changes_nothing(dpkg: NodeFolder, carry: Carry) -> None:
    carry("wanted")
    assert ask(dpkg, "wanted").returncode == 0
    before = dpkg.files()
    done = ask(dpkg, "wanted")
    assert done.returncode == 0, done.stdout + done.stderr
    # dpkg keeps its last state but one, whatever it does.
    changed = {path for path, content in dpkg.files().items() if before.pop(path, None) != content} | set(before)
    assert changed <= {"var/lib/dpkg/status-old"}


def test_after_a_power_cut_it_goes_on_where_dpkg_was(dpkg: NodeFolder, carry: Carry) -> None:
    first = carry("wanted", "1.0", "Depends: needed")
    carry("needed")
    # Unpacked and no more; and the policy of the run that was cut off is still there.
    subprocess.run([dpkg.bin / "dpkg", "--unpack", first], env=dpkg.environment, check=True, capture_output=True)
    dpkg.write(POLICY, "#!/bin/sh\n# Of imagesmith's step 25-packages, while it runs.\nexit 101\n").chmod(0o755)
    assert "wanted=1.0 unpacked" in installed(dpkg)
    done = ask(dpkg, "wanted")
    assert done.returncode == 0, done.stdout + done.stderr
    assert installed(dpkg) == "needed=1.0 installed\nwanted=1.0 installed\n"
    assert not dpkg.exists(POLICY)


def test_what_was_updated_since_is_not_made_older(dpkg: NodeFolder, carry: Carry, tmp_path: Path) -> None:
    newer = make_deb(tmp_path, "needed", "3.0")
    subprocess.run([dpkg.bin / "dpkg", "--install", newer], env=dpkg.environment, check=True, capture_output=True)
    carry("needed", "2.0")
    carry("wanted", "1.0", "Depends: needed")
    done = ask(dpkg, "wanted")
    assert done.returncode == 0, done.stdout + done.stderr
    assert installed(dpkg) == "needed=3.0 installed\nwanted=1.0 installed\n"


def test_a_file_of_etc_that_is_there_already_stays(dpkg: NodeFolder, carry: Carry) -> None:
    dpkg.write("etc/wanted.conf", "the node's own\n")
    carry("wanted", conf="the package's\n")
    done = ask(dpkg, "wanted")
    assert done.returncode == 0, done.stdout + done.stderr
    assert dpkg.read("etc/wanted.conf") == "the node's own\n"


def test_what_is_lacking_in_the_end_is_told_and_nothing_is_thrown_away(dpkg: NodeFolder, carry: Carry) -> None:
    carry("other")
    done = ask(dpkg, "other", "wanted")
    assert done.returncode == 1
    assert "still not installed: wanted" in done.stderr
    assert dpkg.exists(FOLDER)
    assert not dpkg.exists(POLICY)


def test_a_package_that_needs_what_is_not_there_is_a_failure(dpkg: NodeFolder, carry: Carry) -> None:
    carry("wanted", "1.0", "Depends: needed")
    done = ask(dpkg, "wanted")
    assert done.returncode != 0
    assert "needed" in done.stdout + done.stderr
    assert installed(dpkg) == ""


# -- from an archive ------------------------------------------------------------------------------


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder that is served on loopback, and its address. Nobody signs it, so a test's sources trust it outright."""
    folder = tmp_path / "archive"
    folder.mkdir()
    with serving(folder) as url:
        yield folder, url


def test_online_apt_fetches_what_is_lacking(dpkg: NodeFolder, archive: tuple[Path, str], tmp_path: Path) -> None:
    folder, url = archive
    publish_flat(folder, make_deb(tmp_path, "wanted", "1.0", "Depends: needed"), make_deb(tmp_path, "needed"))
    dpkg.write("etc/apt/sources.list", f"deb [trusted=yes] {url} ./\n")
    done = ask(dpkg, "wanted", source="archive")
    assert done.returncode == 0, done.stdout + done.stderr
    assert installed(dpkg) == "needed=1.0 installed\nwanted=1.0 installed\n"


def test_online_the_mirrors_count_from_the_first_package_on(
    dpkg: NodeFolder, archive: tuple[Path, str], tmp_path: Path
) -> None:
    folder, url = archive
    publish_flat(folder, make_deb(tmp_path, "wanted"))
    dpkg.write("etc/apt/sources.list", "deb [trusted=yes] http://127.0.0.1:1/debian ./\n")
    dpkg.write("etc/imagesmith/mirrors.conf", f"https?://127\\.0\\.0\\.1:1/debian/? {url}\n")
    done = ask(dpkg, "wanted", source="archive")
    assert done.returncode == 0, done.stdout + done.stderr
    assert installed(dpkg) == "wanted=1.0 installed\n"
    assert dpkg.read("etc/apt/sources.list") == "deb [trusted=yes] http://127.0.0.1:1/debian ./\n"


def test_online_too_it_goes_on_where_dpkg_was(dpkg: NodeFolder, archive: tuple[Path, str], tmp_path: Path) -> None:
    folder, url = archive
    first = make_deb(tmp_path, "wanted", "1.0", "Depends: needed")
    publish_flat(folder, first, make_deb(tmp_path, "needed"))
    dpkg.write("etc/apt/sources.list", f"deb [trusted=yes] {url} ./\n")
    subprocess.run([dpkg.bin / "dpkg", "--unpack", first], env=dpkg.environment, check=True, capture_output=True)
    done = ask(dpkg, "wanted", source="archive")
    assert done.returncode == 0, done.stdout + done.stderr
    assert installed(dpkg) == "needed=1.0 installed\nwanted=1.0 installed\n"


def test_online_an_archive_that_is_away_is_a_failure(dpkg: NodeFolder) -> None:
    dpkg.write("etc/apt/sources.list", "deb [trusted=yes] http://127.0.0.1:1/ ./\n")
    done = ask(dpkg, "wanted", source="archive")
    assert done.returncode != 0
    assert not dpkg.exists(POLICY)


def test_what_no_archive_has_comes_from_the_image_where_the_rest_is_fetched(
    dpkg: NodeFolder, carry: Carry, tmp_path: Path
) -> None:
    archive = tmp_path / "archive"
    archive.mkdir()
    publish_flat(archive, made_deb(tmp_path, "needed"))
    carry("apart", "1.0", "Depends: needed")
    with serving(archive) as url:
        dpkg.write("etc/apt/sources.list", f"deb [trusted=yes] {url} ./\n")
        done = ask(dpkg, "apart", source="archive")
    assert done.returncode == 0, done.stderr
    assert dpkg.exists("usr/share/apart/version") and dpkg.exists("usr/share/needed/version")
    assert not dpkg.exists(FOLDER)
