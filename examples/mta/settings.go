package main

import (
	"cmp"
	"fmt"
	"net"
	"os"
)

// settings are what the environment says.
type settings struct {
	hostname          string
	certFile, keyFile string
	database          string
	keyDir            string // of DKIM
	listen, listenTLS string
}

// readSettings reads the environment. It also returns what is missing there, a
// line for each setting.
func readSettings() (s settings, wrong []string) {
	need := func(name, what string) string {
		v := os.Getenv(name)
		if v == "" {
			wrong = append(wrong, fmt.Sprintf("%s is not set: %s", name, what))
		}
		return v
	}
	s = settings{
		hostname:  need("GATEPOST_HOSTNAME", "the server's name, which its address has in the DNS"),
		certFile:  need("GATEPOST_CERTIFICATE", "the file of the certificate"),
		keyFile:   need("GATEPOST_KEY", "the file of the certificate's key"),
		database:  cmp.Or(os.Getenv("GATEPOST_DATABASE"), "gatepost.db"),
		keyDir:    cmp.Or(os.Getenv("GATEPOST_DKIM"), "dkim"),
		listen:    cmp.Or(os.Getenv("GATEPOST_LISTEN"), ":587"),
		listenTLS: cmp.Or(os.Getenv("GATEPOST_LISTEN_TLS"), ":465"),
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
