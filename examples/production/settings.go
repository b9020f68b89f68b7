package main

import (
	"fmt"
	"net"
	"os"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/gatepost-mail/gatepost/credentials"
)

// settings are what the environment says.
type settings struct {
	databaseURL       string
	hostname          string
	certFile, keyFile string
	upstream          string
	username          string
	password          credentials.Password
	listen, listenTLS string
	shutdownTimeout   time.Duration
}

// readSettings reads the environment. It also returns what is wrong there, a
// line for each setting, without repeating what may be a password.
func readSettings() (s settings, wrong []string) {
	complain := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	get := func(name, otherwise string) string {
		if v := os.Getenv(name); v != "" {
			return v
		}
		return otherwise
	}
	need := func(name, what string) string {
		v := os.Getenv(name)
		if v == "" {
			complain("%s is not set: %s", name, what)
		}
		return v
	}

	s.databaseURL = need("GATEPOST_DATABASE_URL", "the URL of a PostgreSQL database")
	if _, err := pgx.ParseConfig(s.databaseURL); err != nil && s.databaseURL != "" {
		complain("GATEPOST_DATABASE_URL is not understood: it has to be like postgres://user:password@host/name")
	}
	s.hostname = need("GATEPOST_HOSTNAME", "the relay's name, by which clients know it")
	s.certFile = need("GATEPOST_CERTIFICATE", "the file of the certificate")
	s.keyFile = need("GATEPOST_KEY", "the file of the certificate's key")
	s.upstream = need("GATEPOST_UPSTREAM", "the host:port that takes the mail")
	if _, _, err := net.SplitHostPort(s.upstream); err != nil && s.upstream != "" {
		complain("GATEPOST_UPSTREAM is not understood: it has to be like smtp.example.net:587")
	}
	if s.username = get("GATEPOST_UPSTREAM_USERNAME", ""); s.username != "" {
		s.password = credentials.NewPassword(need("GATEPOST_UPSTREAM_PASSWORD", "the password of GATEPOST_UPSTREAM_USERNAME"))
	}
	s.listen = get("GATEPOST_LISTEN", ":587")
	s.listenTLS = get("GATEPOST_LISTEN_TLS", ":465")
	var err error
	if s.shutdownTimeout, err = time.ParseDuration(get("GATEPOST_SHUTDOWN_TIMEOUT", "10s")); err != nil {
		complain("GATEPOST_SHUTDOWN_TIMEOUT is not understood: it has to be like 10s")
	}
	return s, wrong
}

// open opens the ports. An error names the setting that it is about.
func (s settings) open() (starttls, implicit net.Listener, err error) {
	if starttls, err = net.Listen("tcp", s.listen); err != nil {
		return nil, nil, fmt.Errorf("GATEPOST_LISTEN: %w", err)
	}
	if implicit, err = net.Listen("tcp", s.listenTLS); err != nil {
		starttls.Close()
		return nil, nil, fmt.Errorf("GATEPOST_LISTEN_TLS: %w", err)
	}
	return starttls, implicit, nil
}
