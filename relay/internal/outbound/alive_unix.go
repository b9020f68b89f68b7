//go:build unix

package outbound

import "syscall"

// silent reports whether a connection is open and the server has said nothing
// on it since. Whatever there is to read on an idle connection, it is the end: a
// 421, the end of TLS, or the end of the stream.
func silent(raw syscall.RawConn) bool {
	ok := false
	err := raw.Control(func(fd uintptr) {
		var b [1]byte
		_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK)
		ok = err == syscall.EAGAIN || err == syscall.EWOULDBLOCK
	})
	return err == nil && ok
}
