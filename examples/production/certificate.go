package main

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
)

// A certificate is read from its files again when they change.
type certificate struct {
	files [2]string // certificate, key
	log   *slog.Logger

	mu      sync.Mutex
	read    [2]os.FileInfo // of the files when they were last read; nil for one that was missing
	current *tls.Certificate
}

// loadCertificate reads a certificate for the first time.
func loadCertificate(certFile, keyFile string, log *slog.Logger) (*certificate, error) {
	c := &certificate{files: [2]string{certFile, keyFile}, log: log}
	if err := c.reload(c.stat()); err != nil {
		return nil, fmt.Errorf("GATEPOST_CERTIFICATE and GATEPOST_KEY: %w", err)
	}
	return c, nil
}

// get returns the current certificate. It is set as [tls.Config.GetCertificate].
// Each handshake checks whether the two files have changed, which is cheap. If the
// files cannot be read, get logs that once and returns the old certificate, because
// a renewal writes one file after the other.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := c.stat(); !same(now[0], c.read[0]) || !same(now[1], c.read[1]) {
		if err := c.reload(now); err != nil {
			c.log.Error("the new certificate can't be used, the one before stays", "error", err.Error())
		}
	}
	return c.current, nil
}

// reload reads the files, which are as in now or newer.
func (c *certificate) reload(now [2]os.FileInfo) error {
	c.read = now
	cert, err := tls.LoadX509KeyPair(c.files[0], c.files[1])
	if err != nil {
		return err
	}
	c.current = &cert
	c.log.Info("certificate read", "file", c.files[0], "expires", cert.Leaf.NotAfter)
	return nil
}

func (c *certificate) stat() (infos [2]os.FileInfo) {
	for i, name := range c.files {
		if info, err := os.Stat(name); err == nil {
			infos[i] = info
		}
	}
	return infos
}

// same reports whether a file was neither written nor replaced.
func same(a, b os.FileInfo) bool {
	if a == nil || b == nil {
		return a == b
	}
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}
