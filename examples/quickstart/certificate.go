package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"time"
)

const (
	certificateFile = "gatepost.crt"
	keyFile         = "gatepost.key"
)

// certificate returns the certificate from the two files. It makes a new one if
// there is none yet or if that has had its time.
func certificate() (tls.Certificate, error) {
	cert, err := tls.LoadX509KeyPair(certificateFile, keyFile)
	switch {
	case err == nil && time.Now().Before(cert.Leaf.NotAfter):
		return cert, nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return cert, fmt.Errorf("%s and %s: %w", certificateFile, keyFile, err)
	}
	if err := makeCertificate(); err != nil {
		return cert, err
	}
	return tls.LoadX509KeyPair(certificateFile, keyFile)
}

// makeCertificate writes a self-signed certificate for this machine. A client
// that is given gatepost.crt can verify it; no client trusts it otherwise.
func makeCertificate() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(time.Now().UnixNano()),
		Subject:               pkix.Name{CommonName: "localhost"},
		DNSNames:              []string{"localhost"},
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		NotBefore:             time.Now().Add(-time.Hour), // for clocks that are slow
		NotAfter:              time.Now().AddDate(1, 0, 0),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	// The old certificate goes first: whatever happens in between, there is
	// never one that doesn't belong to the key.
	if err := os.Remove(certificateFile); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := writePEM(keyFile, 0o600, "PRIVATE KEY", pkcs8); err != nil {
		return err
	}
	return writePEM(certificateFile, 0o644, "CERTIFICATE", cert)
}

func writePEM(path string, mode os.FileMode, kind string, der []byte) error {
	if err := writeFile(path+".tmp", mode, bytes.NewReader(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))); err != nil {
		return err
	}
	return os.Rename(path+".tmp", path)
}
