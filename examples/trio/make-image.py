#!/usr/bin/env python3
"""Makes a trio image: a PE image whose sections .trhead, .trkern and .trinit are described in README.md."""

import argparse
import gzip
import struct

MACHINES = {"x86_64": 0x8664, "aarch64": 0xAA64}
FILE_ALIGNMENT, SECTION_ALIGNMENT = 512, 4096
# Room for a few more section headers: one is the parser's.
SIZE_OF_HEADERS = 1024
INITIALIZED_DATA_READ = 0x40000040
COMPRESSED = 1


def aligned(size, alignment):
    return -(-size // alignment) * alignment


def head(cmdline, flags):
    return struct.pack("<4sIII", b"TRIO", 1, flags, len(cmdline)) + cmdline


def pe_image(machine, sections):
    table, data, address = b"", b"", SECTION_ALIGNMENT
    for name, content in sections:
        raw = aligned(len(content), FILE_ALIGNMENT)
        offset = SIZE_OF_HEADERS + len(data)
        table += struct.pack("<8sIIIIIIHHI", name, len(content), address, raw, offset, 0, 0, 0, 0, INITIALIZED_DATA_READ)
        data += content.ljust(raw, b"\0")
        address = aligned(address + len(content), SECTION_ALIGNMENT)
    coff = struct.pack("<4sHHIIIHH", b"PE\0\0", machine, len(sections), 0, 0, 0, 240, 0x0206)
    optional = struct.pack("<HBBIIIII", 0x20B, 0, 0, 0, len(data), 0, 0, 0)
    optional += struct.pack("<QII", 0, SECTION_ALIGNMENT, FILE_ALIGNMENT)
    optional += struct.pack("<6HIIII", 0, 0, 0, 0, 0, 0, 0, address, SIZE_OF_HEADERS, 0)
    # EFI application, NX compatible; no stack and heap of its own; 16 empty data directories.
    optional += struct.pack("<HHQQQQII", 10, 0x100, 0, 0, 0, 0, 0, 16) + bytes(16 * 8)
    dos = b"MZ".ljust(0x3C, b"\0") + struct.pack("<I", 0x40)
    return (dos + coff + optional + table).ljust(SIZE_OF_HEADERS, b"\0") + data


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kernel", required=True)
    parser.add_argument("--initrd")
    parser.add_argument("--cmdline", default="")
    parser.add_argument("--compress", action="store_true", help="store the kernel as a gzip stream")
    parser.add_argument("--machine", choices=MACHINES, default="x86_64")
    parser.add_argument("-o", "--output", required=True)
    options = parser.parse_args()

    with open(options.kernel, "rb") as file:
        kernel = file.read()
    if options.compress:
        kernel = gzip.compress(kernel, mtime=0)
    flags = COMPRESSED if options.compress else 0
    sections = [(b".trhead", head(options.cmdline.encode(), flags)), (b".trkern", kernel)]
    if options.initrd:
        with open(options.initrd, "rb") as file:
            sections.append((b".trinit", file.read()))
    with open(options.output, "wb") as file:
        file.write(pe_image(MACHINES[options.machine], sections))


if __name__ == "__main__":
    main()
