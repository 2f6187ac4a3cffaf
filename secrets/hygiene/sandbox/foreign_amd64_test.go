package sandbox_test

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// foreignCode returns 32-bit code: getpid(2) by int 0x80, by which a 64-bit
// process reaches the other table of system calls.
func foreignCode() func() {
	page, err := unix.Mmap(-1, 0, unix.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		panic(err)
	}
	copy(page, []byte{0xb8, 20, 0, 0, 0, 0xcd, 0x80, 0xc3}) // mov eax, 20; int 0x80; ret
	if err := unix.Mprotect(page, unix.PROT_READ|unix.PROT_EXEC); err != nil {
		panic(err)
	}
	code := unsafe.Pointer(&page[0])
	value := &code
	return *(*func())(unsafe.Pointer(&value))
}

// x32 is getpid(2) by x32's number.
const x32 = 0x40000000 | unix.SYS_GETPID

// olderCalls do what newer ones do, which other processors have alone.
var olderCalls = []uint32{
	unix.SYS_FORK, unix.SYS_VFORK, unix.SYS_CREAT, unix.SYS_UNLINK, unix.SYS_RENAME, unix.SYS_RENAMEAT, unix.SYS_MKDIR,
	unix.SYS_RMDIR, unix.SYS_MKNOD, unix.SYS_LINK, unix.SYS_SYMLINK, unix.SYS_CHMOD, unix.SYS_CHOWN, unix.SYS_LCHOWN,
	unix.SYS_UTIME, unix.SYS_UTIMES, unix.SYS_USELIB, unix.SYS_MODIFY_LDT, unix.SYS_IOPL, unix.SYS_IOPERM,
}
