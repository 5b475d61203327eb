"""Compiled files in layers: whom they are for, and what is cut off behind what the loader reads."""

import shutil
import struct
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from modelyard.errors import BuildError
from modelyard.packaging.assembly import check_processor
from modelyard.packaging.elf import cut_to_what_is_loaded, is_compiled, loaded_bytes, machine_of
from modelyard.packaging.pruning import prune
from modelyard.packaging.sources import LayerSource
from modelyard.packaging.targets import BuildTarget

ARM64, X86_64, RISCV = 183, 62, 243


def elf(machine: int = X86_64, *, segment: bytes = b"code", behind: bytes = b"symbols") -> bytes:
    """A file with one segment, and sections behind it."""
    start = 64 + 56
    header = struct.pack(
        "<4sBBBB8xHHIQQQIHHHHHH",
        *(b"\x7fELF", 2, 1, 1, 0),
        *(3, machine, 1, 0, 64, start + len(segment), 0, 64, 56, 1, 64, 3, 2),
    )
    program = struct.pack("<IIQQQQQQ", 1, 5, start, 0, 0, len(segment), len(segment), 0x1000)
    return header + program + segment + behind


def test_what_the_loader_does_not_read_is_cut_off_and_the_header_names_no_sections(tmp_path: Path) -> None:
    module = tmp_path / "x.so"
    module.write_bytes(elf(behind=b"s" * 1000))

    assert cut_to_what_is_loaded(module) == 1000
    content = module.read_bytes()
    assert content.endswith(b"code")
    assert struct.unpack_from("<Q", content, 40) == (0,)
    assert struct.unpack_from("<HHH", content, 58) == (0, 0, 0)
    assert cut_to_what_is_loaded(module) == 0


def test_the_installers_cache_keeps_its_file(tmp_path: Path) -> None:
    cached, module = tmp_path / "cached.so", tmp_path / "x.so"
    cached.write_bytes(elf())
    module.hardlink_to(cached)

    cut_to_what_is_loaded(module)

    assert cached.read_bytes() == elf()


@pytest.mark.parametrize(
    "content",
    [b"", b"\x7fELF", b"MZ" + bytes(99), elf()[:99], elf()[:122], b"\x7fELF\1" + elf()[5:], b"\x7fELF\2\2" + elf()[6:]],
    ids=["empty", "magic only", "another format", "no table", "cut segment", "32 bits", "big-endian"],
)  # fmt: skip
def test_a_file_that_is_not_understood_stays_as_it_is(tmp_path: Path, content: bytes) -> None:
    module = tmp_path / "x.so"
    module.write_bytes(content)

    assert loaded_bytes(content) is None
    assert cut_to_what_is_loaded(module) == 0
    assert module.read_bytes() == content


@pytest.mark.skipif(sys.platform != "linux", reason="ELF is Linux's format")
def test_a_real_module_works_without_what_was_cut_off(tmp_path: Path) -> None:
    package = Path(msgspec.__file__).parent
    shutil.copytree(package, tmp_path / "msgspec")
    (module,) = (tmp_path / "msgspec").glob("_core*.so")

    assert prune("serving", tmp_path)["symbols"] > 1000

    program = "import msgspec; print(msgspec.json.decode(b'[1, 2]'), msgspec.__file__)"
    said = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r}); {program}"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert said == f"[1, 2] {tmp_path}/msgspec/__init__.py\n"
    assert machine_of(module) in {"x86_64", "arm64"}


@pytest.mark.parametrize("name", ["x.so", "libx.so.1.31.1", "x.cpython-313-x86_64-linux-gnu.so", "libx.dylib"])
def test_compiled_files_are_known_by_their_names(name: str) -> None:
    assert is_compiled(Path(name))
    assert not is_compiled(Path(f"{name.split('.')[0]}.py"))


@pytest.mark.parametrize(
    ("content", "machine"),
    [(elf(ARM64), "arm64"), (elf(X86_64), "x86_64"), (elf(RISCV), "ELF machine 243"), (b"\xcf\xfa\xed\xfe", None)],
)
def test_the_processor_is_read_from_the_file(tmp_path: Path, content: bytes, machine: str | None) -> None:
    (tmp_path / "x.so").write_bytes(content)

    assert machine_of(tmp_path / "x.so") == machine


# --- a model's own modules


OWN = LayerSource(name="model-x")


@pytest.mark.parametrize(("content", "whose"), [(elf(X86_64), "x86_64"), (b"\xcf\xfa\xed\xfe", "another system")])
def test_a_module_for_another_processor_is_refused_with_its_file(tmp_path: Path, content: bytes, whose: str) -> None:
    (tmp_path / "x_model").mkdir()
    (tmp_path / "x_model/fast.so").write_bytes(content)

    with pytest.raises(BuildError, match=f"x_model/fast.so is compiled for {whose}") as caught:
        check_processor(tmp_path, OWN, BuildTarget("3.13", "arm64"))

    assert caught.value.code == "wrong_processor"
    assert "manylinux arm64" in str(caught.value.next_step)


def test_a_module_for_the_functions_processor_passes_and_locally_any_does(tmp_path: Path) -> None:
    (tmp_path / "fast.so").write_bytes(elf(ARM64))

    check_processor(tmp_path, OWN, BuildTarget("3.13", "arm64"))
    check_processor(tmp_path, OWN, BuildTarget("3.13", "local"))
