package consent

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// hugePage is the size of a large page on the processors that matter.
const hugePage = 2 << 20

// preferHuge asks for large pages around a shard before it is filled: a look-up in hundreds of megabytes waits longer
// for the address of its page than for the page. It is advice; where there are none all works as well.
func preferHuge(words []uint64) {
	if len(words)*8 < 64<<10 {
		return
	}
	start := uintptr(unsafe.Pointer(&words[0]))
	from, to := start&^(hugePage-1), (start+uintptr(len(words))*8+hugePage-1)&^(hugePage-1)
	_, _, _ = unix.Syscall(unix.SYS_MADVISE, from, to-from, unix.MADV_HUGEPAGE)
}
