#!/bin/sh
# Lets this machine's kernel run arm64 programs with qemu-aarch64-static, also
# inside a chroot: flag F opens the interpreter now, flag P keeps argv[0]. Needs
# root and the package qemu-user-static; does nothing where it is done already,
# or on arm64. See "Kernel Support for miscellaneous Binary Formats" in the
# kernel's documentation.
set -eu
[ "$(uname -m)" != aarch64 ] || exit 0
dir=/proc/sys/fs/binfmt_misc
[ -e $dir/register ] || mount -t binfmt_misc binfmt_misc $dir
[ ! -e $dir/qemu-aarch64 ] || exit 0
magic='\x7f\x45\x4c\x46\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00'
mask='\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff'
printf '%s' ":qemu-aarch64:M::$magic:$mask:$(command -v qemu-aarch64-static):FP" >$dir/register
