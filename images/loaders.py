"""Boot media that the host's own tools make: a CD with ISOLINUX, a disk with GRUB, both with the Linux of a folder.

`python -m images.loaders DIRECTORY KERNELS` makes them there, of bzImage and initrd.gz in KERNELS. What is not
installed is a `Missing` that says so.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ISOLINUX = "/usr/lib/ISOLINUX/isolinux.bin"
LDLINUX = "/usr/lib/syslinux/modules/bios/ldlinux.c32"
GRUB_PC = "/usr/lib/grub/i386-pc"
SECTOR = 512
PARTITION = 2048
"""The first sector of the GRUB disk's partition."""
APPEND = "console=ttyS0 quiet autorun=poweroff"


class Missing(Exception):
    """Something that the host does not have, in a line for people."""


def tool(name: str, debian: str) -> str:
    """The path of a program. Raises Missing."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    if found is None:
        raise Missing(f"no {name}: Debian package {debian} is not installed")
    return found


def package(path: str, debian: str) -> str:
    """The path of a file of a Debian package. Raises Missing."""
    if not Path(path).exists():
        raise Missing(f"no {path}: Debian package {debian} is not installed")
    return path


def kernel_files(kernels: Path, into: Path) -> None:
    """The kernel and its initial RAM disk."""
    for name in ("bzImage", "initrd.gz"):
        shutil.copy(kernels / name, into / name)


def isolinux_cd(directory: Path, kernels: Path, append: str = APPEND) -> Path:
    """A CD whose ISOLINUX starts the kernel."""
    xorriso = tool("xorriso", "xorriso")
    root = directory / "cd"
    (root / "isolinux").mkdir(parents=True)
    shutil.copy(package(ISOLINUX, "isolinux"), root / "isolinux")
    shutil.copy(package(LDLINUX, "syslinux-common"), root / "isolinux")
    kernel_files(kernels, root)
    (root / "isolinux/isolinux.cfg").write_text(
        f"DEFAULT linux\nPROMPT 0\nLABEL linux\n KERNEL /bzImage\n INITRD /initrd.gz\n APPEND {append}\n"
    )
    image = directory / "isolinux.iso"
    words = [xorriso, "-as", "mkisofs", "-quiet", "-o", str(image), "-b", "isolinux/isolinux.bin"]
    words += ["-c", "isolinux/boot.cat", "-no-emul-boot", "-boot-load-size", "4", "-boot-info-table", str(root)]
    subprocess.run(words, check=True, capture_output=True)
    return image


def emulation_cd(directory: Path, content: Path, *options: str) -> Path:
    """A CD whose boot image is a floppy, or with -hard-disk-boot a disk (El Torito's emulation)."""
    xorriso = tool("xorriso", "xorriso")
    root, image = directory / "root", directory / "emulation.iso"
    root.mkdir()
    shutil.copy(content, root / "boot.img")
    words = [xorriso, "-as", "mkisofs", "-quiet", "-o", str(image), "-b", "boot.img", "-c", "boot.cat", *options]
    subprocess.run([*words, str(root)], check=True, capture_output=True)
    return image


def grub_disk(directory: Path, kernels: Path, append: str = APPEND) -> Path:
    """A disk with an MBR, GRUB behind it, and the kernel on an ext2 partition."""
    mkimage, mke2fs = tool("grub-mkimage", "grub-common"), tool("mke2fs", "e2fsprogs")
    boot = Path(package(f"{GRUB_PC}/boot.img", "grub-pc-bin")).read_bytes()
    root = directory / "disk"
    (root / "boot/grub").mkdir(parents=True)
    kernel_files(kernels, root / "boot")
    (root / "boot/grub/grub.cfg").write_text(
        "serial --unit=0\nterminal_output serial console\necho GRUB-READY\n"
        f"linux /boot/bzImage {append}\ninitrd /boot/initrd.gz\nboot\n"
    )
    core = directory / "core.img"
    modules = "biosdisk part_msdos ext2 linux normal configfile echo serial".split()
    words = [mkimage, "-O", "i386-pc", "-d", GRUB_PC, "-o", str(core), "-p", "(hd0,msdos1)/boot/grub", *modules]
    subprocess.run(words, check=True, capture_output=True)
    loader = bytearray(core.read_bytes())
    count = -(-len(loader) // SECTOR)
    if count >= PARTITION - 1:
        raise Missing(f"GRUB's core has {count} sectors, which do not fit")
    # The last block list of the loader's first sector: where the rest is, and how long.
    loader[0x1F4:0x1FE] = (2).to_bytes(8, "little") + (count - 1).to_bytes(2, "little")
    size = 32 << 20
    image = directory / "grub.img"
    sectors = size // SECTOR - PARTITION
    entry = bytes((0x80, 0xFE, 0xFF, 0xFF, 0x83, 0xFE, 0xFF, 0xFF)) + PARTITION.to_bytes(4, "little")
    mbr = boot[:0x1B8].ljust(0x1BE, b"\0") + (entry + sectors.to_bytes(4, "little")).ljust(64, b"\0") + b"\x55\xaa"
    with image.open("wb") as file:
        file.write(mbr + loader)
        file.truncate(size)
    words = [mke2fs, "-q", "-F", "-t", "ext2", "-d", str(root), "-E", f"offset={PARTITION * SECTOR}", str(image)]
    subprocess.run([*words, f"{sectors // 2}k"], check=True, capture_output=True)
    return image


def main() -> int:
    """Make both; 1 and a line where something is missing."""
    directory, kernels = Path(sys.argv[1]), Path(sys.argv[2])
    try:
        print(isolinux_cd(directory, kernels))
        print(grub_disk(directory, kernels))
    except Missing as error:
        print(f"loaders: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
