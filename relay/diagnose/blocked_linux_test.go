package diagnose_test

import (
	"context"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/relay/diagnose"
)

// A port that a firewall blocks does not answer at all. Here the kernel drops the
// first packet, because the queue of connections that wait is full.
func TestBlockedPort(t *testing.T) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	addr := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: name.(*syscall.SockaddrInet4).Port}
	full := false
	for range 16 {
		ctx, cancel := context.WithTimeout(t.Context(), short)
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr.String())
		cancel()
		if full = err != nil; full {
			break
		}
		defer conn.Close()
	}
	if !full {
		t.Skip("this system lets any number of connections wait")
	}
	target := target(addr)
	target.Host, target.Timeout = "127.0.0.1", short
	began := time.Now()
	last := wantFailed(t, diagnose.Check(t.Context(), target), "connect")
	if !strings.Contains(last.Detail, "did not answer within 150ms") || !strings.Contains(last.Advice, "firewall") || time.Since(began) > 5*time.Second {
		t.Errorf("got %+v after %v", last, time.Since(began))
	}
}
