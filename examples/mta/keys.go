package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/dkim"
)

// firstSelector names the key that is made if there is none.
const firstSelector = "gatepost"

// keys are the server's DKIM keys. They serve all domains. The server keeps them
// secret, and signs for a domain only mail of that domain's users.
type keys []dkim.Key

// of returns the same keys for every domain. It is set as [dkim.Signer.Keys].
func (ks keys) of(context.Context, *relay.Message, string) ([]dkim.Key, error) { return ks, nil }

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
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		signer, err := dkim.ParsePEM(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		ks = append(ks, dkim.Key{Selector: strings.TrimSuffix(filepath.Base(file), ".pem"), Signer: signer})
	}
	return ks, nil
}

// makeKey writes a new RSA key to a file.
func makeKey(file string) error {
	key, err := dkim.GenerateRSA()
	if err != nil {
		return err
	}
	text, err := dkim.MarshalPEM(key)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	// The file gets its name when it is whole, so that a crash leaves no part of
	// a key.
	temp := file + ".tmp"
	if err := os.WriteFile(temp, text, 0o600); err != nil {
		return err
	}
	return os.Rename(temp, file)
}

// tell logs the records to publish.
func (ks keys) tell(log *slog.Logger) error {
	for _, k := range ks {
		record, err := k.Record()
		if err != nil {
			return err
		}
		log.Info("each domain, and the hostname for bounces, needs this TXT record",
			"name", k.RecordName("DOMAIN"), "value", strings.Join(record, ""))
	}
	return nil
}
