//go:build unix

package wire

import (
	"net"
	"syscall"
)

// readReady gives a function that reads what has arrived on a connection without
// waiting, and returns how many bytes; nil if the connection cannot do that. It
// is for one goroutine.
func readReady(conn net.Conn) func([]byte) int {
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil
	}
	var (
		buf []byte
		n   int
	)
	read := func(fd uintptr) bool {
		n, _ = syscall.Read(int(fd), buf) // an error shows again when it is waited for
		return true
	}
	return func(b []byte) int {
		buf, n = b, 0
		if raw.Read(read) != nil {
			return 0
		}
		buf = nil
		return n
	}
}
