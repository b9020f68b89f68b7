package e2e_test

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// A stripped server is an SMTP server that speaks no TLS on any port, offers
// AUTH, and takes every password. It keeps all that clients send.
type stripped struct {
	port      int
	extension string // offered beside AUTH
	listener  net.Listener
	done      sync.WaitGroup

	mu   sync.Mutex
	sent bytes.Buffer
}

func startStripped(t *testing.T, extension string) *stripped {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &stripped{port: l.Addr().(*net.TCPAddr).Port, extension: extension, listener: l}
	s.done.Go(s.accept)
	t.Cleanup(func() { s.stop() })
	return s
}

// stop ends the server and returns what clients sent.
func (s *stripped) stop() []byte {
	s.listener.Close()
	s.done.Wait()
	return s.sent.Bytes()
}

func (s *stripped) accept() {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.done.Go(func() { s.serve(conn) })
	}
}

func (s *stripped) serve(conn net.Conn) {
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	lines := bufio.NewReader(conn)
	fmt.Fprint(conn, "220 localhost ESMTP\r\n")
	data := false
	for {
		line, err := lines.ReadString('\n')
		s.mu.Lock()
		s.sent.WriteString(line)
		s.mu.Unlock()
		if err != nil || strings.HasPrefix(line, "\x16") { // a TLS handshake
			return
		}
		reply := s.reply(strings.TrimSpace(line), &data)
		if reply == "" {
			continue
		}
		if _, err := fmt.Fprint(conn, reply+"\r\n"); err != nil || strings.HasPrefix(reply, "221") {
			return
		}
	}
}

func (s *stripped) reply(line string, data *bool) string {
	if *data {
		if line != "." {
			return ""
		}
		*data = false
		return "250 2.0.0 taken"
	}
	verb, rest, _ := strings.Cut(strings.ToUpper(line), " ")
	switch verb {
	case "EHLO":
		if s.extension != "" {
			return "250-localhost\r\n250-" + s.extension + "\r\n250 AUTH PLAIN LOGIN"
		}
		return "250-localhost\r\n250 AUTH PLAIN LOGIN"
	case "HELO", "MAIL", "RCPT", "RSET", "NOOP":
		return "250 localhost"
	case "STARTTLS":
		return "454 4.7.0 TLS not available"
	case "AUTH":
		if rest == "LOGIN" || rest == "PLAIN" {
			return "334 "
		}
		return "235 2.7.0 welcome"
	case "DATA":
		*data = true
		return "354 go on"
	case "QUIT":
		return "221 2.0.0 bye"
	}
	return "235 2.7.0 welcome" // the second part of AUTH
}
