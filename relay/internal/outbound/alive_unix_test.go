//go:build unix

package outbound

import (
	"net"
	"testing"
	"time"
)

// A look at an idle connection tells whether the server closed it, or said
// something that the client did not ask for.
func TestAlive(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for name, act := range map[string]func(net.Conn){
		"closed": func(c net.Conn) { c.Close() },
		"spoken": func(c net.Conn) { c.Write([]byte("421 4.4.2 Idle\r\n")) },
	} {
		t.Run(name, func(t *testing.T) {
			raw, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer raw.Close()
			server, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer server.Close()
			c := newConn(raw, "host", timeouts{})
			c.raw.SetDeadline(time.Now().Add(-time.Second)) // of the last reply
			if !c.alive() {
				t.Fatal("dead from the beginning")
			}
			act(server)
			for end := time.Now().Add(10 * time.Second); c.alive(); time.Sleep(time.Millisecond) {
				if time.Now().After(end) {
					t.Fatal("still taken for alive")
				}
			}
		})
	}
}
