package main

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/gatepost-mail/gatepost/relay/dkim"
)

// firstSelector names the key that is made if there is none.
const firstSelector = "gatepost"

// keys are the server's DKIM keys. They serve all domains: it is the server that
// keeps them secret, and only signs what a domain's own users have sent.
type keys []dkim.Key

// of is for [dkim.Signer.Keys].
func (ks keys) of(context.Context, string) ([]dkim.Key, error) { return ks, nil }

// loadKeys reads the keys of a directory, and makes the first. To replace a key,
// add another, publish its record, and remove the old one a week later.
func loadKeys(dir string) (keys, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.pem"))
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		files = []string{filepath.Join(dir, firstSelector+".pem")}
		if err := makeKey(files[0]); err != nil {
			return nil, err
		}
	}
	var ks keys
	for _, file := range files {
		signer, err := readKey(file)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		ks = append(ks, dkim.Key{Selector: strings.TrimSuffix(filepath.Base(file), ".pem"), Signer: signer})
	}
	return ks, nil
}

// makeKey makes a key that every receiver knows what to do with: RSA of 2048 bits.
func makeKey(file string) error {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	// Under another name first, so that a crash leaves no half of a key.
	temp := file + ".tmp"
	if err := os.WriteFile(temp, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		return err
	}
	return os.Rename(temp, file)
}

func readKey(file string) (crypto.Signer, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(content)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, errors.New("it holds no PRIVATE KEY in PEM")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	switch key := key.(type) {
	case *rsa.PrivateKey:
		return key, nil
	case ed25519.PrivateKey:
		return key, nil
	}
	return nil, errors.New("DKIM has keys of RSA and Ed25519 only")
}

// tell logs the records to publish.
func (ks keys) tell(log *slog.Logger) {
	for _, k := range ks {
		log.Info("each domain, and the hostname for bounces, needs this TXT record", "name", k.Selector+"._domainkey.DOMAIN", "value", record(k))
	}
}

// record returns the TXT record of a key (RFC 6376 section 3.6.1, RFC 8463).
func record(k dkim.Key) string {
	if public, ok := k.Signer.Public().(ed25519.PublicKey); ok {
		return "v=DKIM1; k=ed25519; p=" + base64.StdEncoding.EncodeToString(public)
	}
	der, _ := x509.MarshalPKIXPublicKey(k.Signer.Public()) // can't fail for RSA
	return "v=DKIM1; k=rsa; p=" + base64.StdEncoding.EncodeToString(der)
}
