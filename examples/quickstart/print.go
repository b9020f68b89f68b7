package main

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
)

// A ready says that the relay runs, and what a tool needs to send mail.
type ready struct {
	Console      string `json:"console"`
	Server       string `json:"server"`
	PortSTARTTLS int    `json:"port_starttls"`
	PortTLS      int    `json:"port_tls"`
	Certificate  string `json:"certificate"` // the file by which to verify the server
	Domain       string `json:"domain"`
	Username     string `json:"username"`
	Password     string `json:"password,omitempty"` // of a new user
}

// on fills in what the listeners tell.
func (r *ready) on(ports []net.Listener) {
	r.Server = hostname
	r.PortSTARTTLS = ports[0].Addr().(*net.TCPAddr).Port
	r.PortTLS = ports[1].Addr().(*net.TCPAddr).Port
	r.Console = "http://" + ports[2].Addr().String() + "/"
	r.Certificate, _ = filepath.Abs(certificateFile)
}

// print prints a line of JSON, or text for a person.
func (r *ready) print() {
	if *asJSON {
		json.NewEncoder(os.Stdout).Encode(r)
		return
	}
	fmt.Printf("The console manages SMTP users, in a browser: %s\n\n", r.Console)
	fmt.Printf("server:   %s\n", r.Server)
	fmt.Printf("ports:    %d with STARTTLS, %d with TLS from the first byte\n", r.PortSTARTTLS, r.PortTLS)
	fmt.Printf("username: %s\n", r.Username)
	if r.Password == "" {
		fmt.Print("\nA password is shown once, when it is made. Make a new one in the console.\n")
	} else {
		fmt.Printf("password: %s\n\n", r.Password)
		fmt.Print("The password is shown this once. Send a message from another terminal:\n\n")
		fmt.Printf("  printf 'From: hello@%s\\nTo: you@example.com\\nSubject: Hello\\n\\nIt works.\\n' |\n", r.Domain)
		fmt.Printf("    curl --silent --show-error --url smtp://%s:%d --ssl-reqd --cacert '%s' \\\n",
			r.Server, r.PortSTARTTLS, strings.ReplaceAll(r.Certificate, "'", `'\''`))
		fmt.Printf("      --user %s:%s \\\n", r.Username, r.Password)
		fmt.Printf("      --mail-from hello@%s --mail-rcpt you@example.com --crlf --upload-file -\n", r.Domain)
	}
	where := outboxDir + "/ID.eml"
	if *upstreamURL != "" {
		where = "the upstream"
	}
	fmt.Printf("\nMessages go to %s. Ctrl-C stops the relay. What happens:\n\n", where)
}

// newLogger returns a logger that prints every event of the relay and the queue
// as a line: JSON, or what a person wants to see of it.
func newLogger() *slog.Logger {
	if *asJSON {
		return slog.New(slog.NewJSONHandler(os.Stdout, nil))
	}
	return slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			switch a.Key {
			case slog.TimeKey, slog.LevelKey, "session":
				return slog.Attr{}
			case "tenant":
				if operation == "" { // there is one only
					return slog.Attr{}
				}
			}
			return a
		},
	}))
}
