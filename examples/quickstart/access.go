package main

import (
	"bytes"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"
)

// access is what a tool needs to send mail.
type access struct {
	Server       string `json:"server"`
	PortSTARTTLS int    `json:"port_starttls"`
	PortTLS      int    `json:"port_tls"`
	Certificate  string `json:"certificate"` // the file by which to verify the server
	Domain       string `json:"domain"`

	Name     string `json:"name"`
	Username string `json:"username"`
	Password string `json:"password,omitempty"` // in the one answer that shows it
}

// accessTo describes a relay that listens on two addresses.
func accessTo(starttls, implicit string) access {
	a := access{Server: "localhost", Certificate: certificateFile}
	if path, err := filepath.Abs(certificateFile); err == nil {
		a.Certificate = path
	}
	host, port, _ := net.SplitHostPort(starttls)
	if ip := net.ParseIP(host); ip != nil && !ip.IsLoopback() && !ip.IsUnspecified() {
		a.Server = host
	}
	a.PortSTARTTLS, _ = strconv.Atoi(port)
	_, port, _ = net.SplitHostPort(implicit)
	a.PortTLS, _ = strconv.Atoi(port)
	return a
}

// with completes the description for one user.
func (a access) with(u issued) access {
	a.Domain, a.Name, a.Username, a.Password = u.user.Domain, u.user.Name, u.user.Username, u.password.Reveal()
	return a
}

func (a access) text(b *bytes.Buffer) {
	fmt.Fprintf(b, "server:   %s\n", a.Server)
	fmt.Fprintf(b, "ports:    %d with STARTTLS, %d with TLS from the start\n", a.PortSTARTTLS, a.PortTLS)
	if a.Password == "" {
		fmt.Fprint(b, "\nPasswords are shown once, when they are made. In another terminal:\n\n")
		fmt.Fprintf(b, "  go run ./examples/quickstart -list\n")
		fmt.Fprintf(b, "  go run ./examples/quickstart -reset %s\n", a.Username)
		fmt.Fprintf(b, "  go run ./examples/quickstart -add 'another tool'\n")
		return
	}
	fmt.Fprintf(b, "username: %s\n", a.Username)
	fmt.Fprintf(b, "password: %s\n", a.Password)
	fmt.Fprint(b, "\nThe password is shown this once. Send a message from another terminal, with curl:\n\n")
	fmt.Fprintln(b, a.curl())
	fmt.Fprint(b, "\nor with swaks:\n\n")
	fmt.Fprintln(b, a.swaks())
}

// curl returns a command for a POSIX shell.
func (a access) curl() string {
	from, to := "hello@"+a.Domain, "you@example.com"
	return fmt.Sprintf(`  printf 'From: %s\nTo: %s\nSubject: Hello\n\nIt works.\n' |
    curl --silent --show-error --url smtp://%s:%d --ssl-reqd --cacert %s \
      --user %s:%s \
      --mail-from %s --mail-rcpt %s --crlf --upload-file -`,
		from, to, a.Server, a.PortSTARTTLS, quote(a.Certificate), a.Username, a.Password, from, to)
}

// swaks returns a command for a POSIX shell.
func (a access) swaks() string {
	return fmt.Sprintf(`  swaks --server %s:%d --tls --tls-verify --tls-ca-path %s \
    --auth PLAIN --auth-user %s --auth-password %s \
    --from hello@%s --to you@example.com`,
		a.Server, a.PortSTARTTLS, quote(a.Certificate), a.Username, a.Password, a.Domain)
}

// quote returns a text as one word of a POSIX shell.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
