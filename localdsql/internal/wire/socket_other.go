//go:build !unix

package wire

import "net"

// newSocket leaves a connection as it is.
func newSocket(conn net.Conn) net.Conn { return conn }
