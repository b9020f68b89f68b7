//go:build unix

package outbound

import "syscall"

// silent reports whether a connection is open and has nothing to read. On an idle
// connection a server sends only its end: a 421, the end of TLS, or the end of the
// stream.
func silent(raw syscall.RawConn) bool {
	ok := false
	err := raw.Control(func(fd uintptr) {
		var b [1]byte
		_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK)
		ok = err == syscall.EAGAIN || err == syscall.EWOULDBLOCK
	})
	return err == nil && ok
}
