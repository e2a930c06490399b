"""A protoc plugin that makes all of the Python code of one proto package.

grpcio-tools ships its generators inside one extension module, not as plugin executables. This reads a
CodeGeneratorRequest on standard input, runs that module over the same descriptors, adds the typing of
mypy-protobuf, and answers with the files named relative to the package's own folder, so that the folder can
be emptied before each run. Service modules of files without a service are left out: they hold nothing.

Parameter: `package=<dir>`, the folder of the package inside the import root, such as `perdure/v1`.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from google.protobuf.compiler import plugin_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorSet

MARKER = '"""Generated code: the messages and services of the contract. Do not edit."""\n'


class GeneratorError(Exception):
    """The inner generator refused the files; its own messages are on standard error."""


def package_dir(parameter: str) -> str:
    """The value of `package` in a plugin parameter such as `package=perdure/v1`."""
    name, _, value = parameter.partition("=")
    if name != "package" or not value:
        raise GeneratorError(f"expected the parameter package=<dir>, got {parameter!r}")
    return value


def run_generators(request: plugin_pb2.CodeGeneratorRequest, out: Path) -> None:
    """Writes the modules and stubs of `request.file_to_generate` below `out`."""
    descriptors = out.parent / "descriptors.binpb"
    descriptors.write_bytes(FileDescriptorSet(file=request.proto_file).SerializeToString())
    scripts = Path(sys.executable).parent
    command = [
        sys.executable,
        "-m",
        "grpc_tools.protoc",
        f"--descriptor_set_in={descriptors}",
        f"--python_out={out}",
        f"--grpc_python_out={out}",
        f"--plugin=protoc-gen-mypy={scripts / 'protoc-gen-mypy'}",
        f"--plugin=protoc-gen-mypy_grpc={scripts / 'protoc-gen-mypy_grpc'}",
        f"--mypy_out=quiet:{out}",
        f"--mypy_grpc_out=quiet:{out}",
        *request.file_to_generate,
    ]
    # Standard output belongs to the plugin protocol.
    status = subprocess.run(command, stdout=sys.stderr, check=False).returncode
    if status != 0:
        raise GeneratorError(f"the inner protoc ended with status {status}")


def serves(request: plugin_pb2.CodeGeneratorRequest, module: Path) -> bool:
    """Whether `module` is worth keeping: a message module, or the service module of a file with a service."""
    stem, mark, _ = module.name.partition("_pb2_grpc.")
    if not mark:
        return True
    return any(file.service for file in request.proto_file if Path(file.name) == module.with_name(stem + ".proto"))


def generate(request: plugin_pb2.CodeGeneratorRequest) -> plugin_pb2.CodeGeneratorResponse:
    """Answers `request` with the modules and stubs of its package, and the package's `__init__.py`."""
    response = plugin_pb2.CodeGeneratorResponse(
        supported_features=plugin_pb2.CodeGeneratorResponse.FEATURE_PROTO3_OPTIONAL,
    )
    package = package_dir(request.parameter)
    response.file.add(name="__init__.py", content=MARKER)
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "out"
        out.mkdir()
        run_generators(request, out)
        for path in sorted(path for path in out.rglob("*") if path.is_file()):
            module = path.relative_to(out)
            if not module.is_relative_to(package):
                raise GeneratorError(f"{module} is outside the package {package}")
            if serves(request, module):
                name = str(module.relative_to(package))
                response.file.add(name=name, content=path.read_text(encoding="utf-8"))
    return response


def main() -> None:
    """Speaks the plugin protocol: one request on standard input, one response on standard output."""
    request = plugin_pb2.CodeGeneratorRequest.FromString(sys.stdin.buffer.read())
    try:
        response = generate(request)
    except GeneratorError as error:
        response = plugin_pb2.CodeGeneratorResponse(error=str(error))
    sys.stdout.buffer.write(response.SerializeToString())


if __name__ == "__main__":
    main()
