"""Unpacks chosen members: unpack.py ARCHIVE INTO FROM=TO... (FROM/ is every member below it)."""

import pathlib
import shutil
import sys
import tarfile
import zipfile


def members(archive):
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as wheel:
            for info in wheel.infolist():
                if not info.is_dir():
                    yield info.filename, lambda: wheel.open(info)
    else:
        with tarfile.open(archive) as source:
            for info in source:
                if info.isfile():
                    yield info.name, lambda: source.extractfile(info)


archive, into = sys.argv[1], pathlib.Path(sys.argv[2])
wanted = dict(pick.split("=") for pick in sys.argv[3:])
missing = set(wanted)
for name, content in members(archive):
    for origin, target in wanted.items():
        if name == origin or (origin.endswith("/") and name.startswith(origin)):
            missing.discard(origin)
            path = into / (target + name[len(origin):])
            path.parent.mkdir(parents=True, exist_ok=True)
            with content() as reader, path.open("wb") as writer:
                shutil.copyfileobj(reader, writer, 1 << 20)
            break
if missing:
    sys.exit(f"{archive} does not hold {', '.join(sorted(missing))}")
