package domains

import (
	"cmp"
	"context"
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/dkim"
	"github.com/gatepost-mail/gatepost/store"
)

// An ownKey is a key of one domain. The newest is the first of the Secrets of a Setup.
type ownKey struct {
	Selector string    `json:"selector"`
	Record   string    `json:"record"` // the text of the TXT record
	Private  []byte    `json:"private"`
	Sealed   bool      `json:"sealed,omitempty"` // whether Private is sealed by Secret
	Seen     time.Time `json:"seen,omitzero"`    // when the record was first seen
	Retired  time.Time `json:"retired,omitzero"` // when a newer key took over
}

func readKeys(s *store.Setup) (keys []ownKey) {
	if s.Secrets != "" {
		_ = json.Unmarshal([]byte(s.Secrets), &keys) // a damaged one has no keys, and signing is an error
	}
	return keys
}

func writeKeys(s *store.Setup, keys []ownKey) error {
	text, err := json.Marshal(keys)
	s.Secrets = string(text)
	return err
}

// addKey gives a setup a new key, and drops those whose records need not stay.
func (m *Manager) addKey(s *store.Setup) error {
	private, err := dkim.GenerateRSA()
	if err != nil {
		return err
	}
	pem, err := dkim.MarshalPEM(private)
	if err != nil {
		return err
	}
	key := ownKey{Selector: "gp" + strings.ToLower(rand.Text()[:6])}
	key.Record = publicRecord(dkim.Key{Selector: key.Selector, Signer: private})
	key.Private, key.Sealed = m.seal(s, key.Selector, pem), m.aead != nil
	keys := slices.DeleteFunc(readKeys(s), func(k ownKey) bool { return !k.Retired.IsZero() && time.Since(k.Retired) >= keepOld })
	return writeKeys(s, append([]ownKey{key}, keys...))
}

// makeSeal prepares the cipher of Secret.
func (m *Manager) makeSeal() error {
	secret := m.Secret.Reveal()
	switch {
	case secret == "":
		return nil
	case len(secret) < 32:
		return fmt.Errorf("domains: Manager.Secret has %d bytes, it needs at least 32", len(secret))
	}
	key, err := hkdf.Key(sha256.New, []byte(secret), nil, "gatepost domains", 32)
	if err != nil {
		return err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return err
	}
	m.aead, err = cipher.NewGCMWithRandomNonce(block)
	return err
}

// place names where a key belongs, so that it cannot be moved to another domain.
func place(s *store.Setup, selector string) []byte {
	return fmt.Appendf(nil, "%q %q %d %q", s.Domain, s.Tenant, s.Added.UnixMicro(), selector)
}

func (m *Manager) seal(s *store.Setup, selector string, text []byte) []byte {
	if m.aead == nil {
		return text
	}
	return m.aead.Seal(nil, nil, text, place(s, selector))
}

// private returns the private half of a key.
func (m *Manager) private(s *store.Setup, key *ownKey) (dkim.Key, error) {
	text := key.Private
	if key.Sealed {
		if m.aead == nil {
			return dkim.Key{}, fmt.Errorf("the key %s is sealed: set Manager.Secret", key.Selector)
		}
		var err error
		if text, err = m.aead.Open(nil, nil, text, place(s, key.Selector)); err != nil {
			return dkim.Key{}, fmt.Errorf("the key %s was sealed with another Manager.Secret", key.Selector)
		}
	}
	signer, err := dkim.ParsePEM(text)
	return dkim.Key{Selector: key.Selector, Signer: signer}, err
}

// signing returns the keys that sign for a domain: those whose record was seen at the
// last look with an answer, or if there are none, those whose record was ever seen.
func (m *Manager) signing(s *store.Setup) (keys []dkim.Key, err error) {
	l := readLook(s)
	for _, is := range []func(seen) bool{func(r seen) bool { return r.Right }, func(r seen) bool { return r.Ever }} {
		signs := func(selector string) bool { return is(l.Records[selector+"._domainkey."+s.Domain]) }
		if s.Secrets == "" {
			for _, key := range m.Shared {
				if signs(key.Selector) {
					keys = append(keys, key)
				}
			}
		}
		own := readKeys(s)
		if len(own) == 0 && s.Secrets != "" {
			return nil, errors.New("its keys cannot be read")
		}
		for i := range own {
			if own[i].Retired.IsZero() && signs(own[i].Selector) {
				key, err := m.private(s, &own[i])
				if err != nil {
					return nil, err
				}
				return []dkim.Key{key}, nil
			}
		}
		if len(keys) > 0 {
			break
		}
	}
	return keys, nil
}

// A publicKey is the public half of a key. It signs nothing.
type publicKey struct{ public crypto.PublicKey }

func (k publicKey) Public() crypto.PublicKey { return k.public }

func (publicKey) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, errors.ErrUnsupported
}

// publicOf reads the record of an RSA key, as addKey writes it. Secret is not needed
// for it.
func publicOf(record string) (crypto.Signer, error) {
	_, text, _ := strings.Cut(record, "p=")
	der, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, err
	}
	public, err := x509.ParsePKIXPublicKey(der)
	return publicKey{public}, err
}

// Keys returns the keys that sign a message for a domain. There are none if no tenant has
// proved the domain, and for mail that a user of the domain sent before another tenant
// proved it, so that it does not go out in the name of that tenant. It is for
// [dkim.Signer].Keys. Keys are read once and remembered; a change in another process
// counts within ten seconds. A key that was sealed with another Secret is an error, so
// that mail waits in the queue.
func (m *Manager) Keys(ctx context.Context, msg *relay.Message, domain string) ([]dkim.Key, error) {
	h, err := m.holder(ctx, domain)
	if err == nil && msg.Identity.Domain == domain && h.tenant != msg.Identity.Tenant {
		return nil, nil
	}
	return h.keys, wrap("keys of", domain, cmp.Or(err, h.keysErr))
}

// ReturnPathOf returns where reports about mail of a domain go: bounces.DOMAIN if its
// record was seen at the last look, or "". It is for the Domain of a Rewriter in package
// relay/bounces.
func (m *Manager) ReturnPathOf(ctx context.Context, domain string) (string, error) {
	h, err := m.holder(ctx, domain)
	return h.returnPath, wrap("return path of", domain, err)
}
