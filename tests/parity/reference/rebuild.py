"""What the scripts that build cases have in common: writing groups of them, or comparing a rebuild."""

import argparse
import shutil
import tempfile
import warnings
from pathlib import Path

import torch
import transformers

from .compare import compare
from .versions import version_differences, write_versions

CASES = Path(__file__).parent.parent / "cases"


def _build(root, groups):
    for name, write in groups.items():
        shutil.rmtree(root / name, ignore_errors=True)
        write(root / name)


def _check(groups, versions, packages, needs):
    """0 if a rebuild gives what is stored."""
    for difference in version_differences(CASES / versions, packages):
        print(f"note: {difference}")
    compared, faults = 0, []
    with tempfile.TemporaryDirectory() as scratch:
        for name in needs:
            shutil.copytree(CASES / name, Path(scratch) / name)
        _build(Path(scratch), groups)
        for name in groups:
            count, found = compare(CASES / name, Path(scratch) / name)
            compared += count
            faults += [f"{name}/{fault}" for fault in found]
    print("\n".join([*faults, f"{compared} files compared, {len(faults)} differ"]))
    return 1 if faults or compared == 0 else 0


def _add(group, write):
    """Stores the cases of a group that are not stored yet."""
    with tempfile.TemporaryDirectory() as scratch:
        for other in CASES.iterdir():
            if other.name != group:
                (Path(scratch) / other.name).symlink_to(other)
        built = Path(scratch) / group
        built.mkdir()
        write(built)
        new = [case for case in sorted(built.iterdir()) if not (CASES / group / case.name).exists()]
        for case in new:
            shutil.copytree(case, CASES / group / case.name)
    print(f"added to {group}: {', '.join(case.name for case in new) or 'nothing'}")
    return 0


def rebuild(description, groups, versions, packages, needs=()):
    """The command: writes `groups` (name to function of a folder), or with --check compares, or with --add
    stores what is new.

    `versions` is the file that notes the versions of `packages`; `needs` are stored groups that the
    groups' models come from. Returns an exit code.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare a rebuild with the stored cases")
    parser.add_argument("--add", metavar="GROUP", choices=groups, help="store a group's new cases, and change no other")
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # the sums' order, and so their last bits, would depend on the machine
    transformers.utils.logging.disable_progress_bar()
    warnings.simplefilter("ignore")  # several cases are about what the libraries warn of
    if arguments.check:
        return _check(groups, versions, packages, needs)
    if arguments.add:
        return _add(arguments.add, groups[arguments.add])
    _build(CASES, groups)
    write_versions(CASES / versions, packages)
    size = sum(file.stat().st_size for name in groups for file in (CASES / name).rglob("*.*") if file.is_file())
    print(f"wrote {', '.join(groups)} below {CASES}: {size / 1024:.0f} KiB")
    return 0
