"""Writes the Python stubs in client/ledger_client/v1 from the protos beside this file.

    make proto                                    regenerate
    .venv-codegen/bin/python protos/generate.py --check    fail if the committed stubs are stale

Runs in its own environment (server/requirements/codegen.txt), because generated code refuses
runtimes older than its generator while the generator pins an old protobuf.

Only the import lines of the output are rewritten, `from ledger.v1 import x` to
`from ledger_client.v1 import x`: the file names inside the descriptors stay `ledger/v1/x.proto`,
which reflection and stubs in other languages share.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

PROTOS = Path(__file__).resolve().parent
OUTPUT = PROTOS.parent / "client" / "ledger_client" / "v1"

_IMPORT = re.compile(r"^from ledger\.v1 import ", re.MULTILINE)
_INIT = '"""The generated messages and stubs of `ledger.v1`; see protos/generate.py."""\n'


def main() -> int:
    parser = argparse.ArgumentParser(description="Generate the Python stubs of ledger.v1.")
    parser.add_argument("--check", action="store_true", help="compare with the committed stubs instead")
    arguments = parser.parse_args()
    wanted = _generate()
    present = {path.name: path.read_text() for path in sorted(OUTPUT.glob("*.py*")) if path.is_file()}
    stale = sorted(name for name in wanted.keys() | present.keys() if wanted.get(name) != present.get(name))
    if arguments.check:
        for name in stale:
            print(f"stale: {OUTPUT.relative_to(PROTOS.parent) / name}", file=sys.stderr)
        if stale:
            print("Run `make proto` and commit the result.", file=sys.stderr)
        return 1 if stale else 0
    OUTPUT.mkdir(parents=True, exist_ok=True)
    for name in stale:
        if name in wanted:
            (OUTPUT / name).write_text(wanted[name])
        else:
            (OUTPUT / name).unlink()
        print(f"{'wrote' if name in wanted else 'removed'} {name}")
    return 0


def _generate() -> dict[str, str]:
    """The stubs as the protos want them, by file name."""
    protos = sorted((PROTOS / "ledger" / "v1").glob("*.proto"))
    services = [path for path in protos if re.search(r"^service ", path.read_text(), re.MULTILINE)]
    with tempfile.TemporaryDirectory() as scratch:
        _protoc(protos, f"--python_out={scratch}", f"--mypy_out=quiet:{scratch}")
        _protoc(services, f"--grpc_python_out={scratch}", f"--mypy_grpc_out=quiet:{scratch}")
        files = {
            path.name: _IMPORT.sub("from ledger_client.v1 import ", path.read_text())
            for path in (Path(scratch) / "ledger" / "v1").iterdir()
        }
    return {**files, "__init__.py": _INIT}


def _protoc(files: list[Path], *options: str) -> None:
    # third_party comes first: it lies inside protos, and a file found twice is defined twice.
    include = [f"-I{PROTOS / 'third_party'}", f"-I{PROTOS}"]
    # protoc finds its plugins on PATH; they stand beside this interpreter.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    subprocess.run(
        [sys.executable, "-m", "grpc_tools.protoc", *include, *options, *map(str, files)],
        check=True,
        env={**os.environ, "PATH": path},
    )


if __name__ == "__main__":
    sys.exit(main())
