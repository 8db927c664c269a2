//go:build !unix

package wire

import "net"

// readReady is for systems where the engine runs.
func readReady(net.Conn) func([]byte) int { return nil }
