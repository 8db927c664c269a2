//go:build unix && !linux

package wire

import "syscall"

// readNow and writeNow read from and write to a socket that does not block, once.
func readNow(fd uintptr, b []byte) (int, error) { return now(syscall.Read, fd, b) }

func writeNow(fd uintptr, b []byte) (int, error) { return now(syscall.Write, fd, b) }

func now(call func(int, []byte) (int, error), fd uintptr, b []byte) (int, error) {
	for {
		n, err := call(int(fd), b)
		switch err {
		case nil:
			return n, nil
		case syscall.EINTR:
		default:
			return 0, err
		}
	}
}
