package webhook

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/store"
)

// A sealed is what an endpoint of a Manager keeps secret.
type sealed struct {
	URL  string      `json:"url"`
	Keys []sealedKey `json:"keys"` // the newest first
}

type sealedKey struct {
	Secret string    `json:"secret"`
	Made   time.Time `json:"made"`
	Until  time.Time `json:"until,omitzero"` // zero for the newest, which does not end
}

// sealedBy begins the text that is sealed. One that is stored as it is begins with "{".
const sealedBy = "1"

// newSeal returns the cipher of a Manager's Secret, or nil if there is none.
func newSeal(secret string) (cipher.AEAD, error) {
	switch {
	case secret == "":
		return nil, nil
	case len(secret) < 32:
		return nil, fmt.Errorf("webhook: Manager.Secret has %d bytes, it needs at least 32", len(secret))
	}
	key, err := hkdf.Key(sha256.New, []byte(secret), nil, "gatepost webhook endpoints", 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// placeOf names where a secret belongs, so that it cannot be moved to another endpoint.
func placeOf(e *store.Endpoint) []byte { return fmt.Appendf(nil, "%q %q", e.Tenant, e.ID) }

// seal puts k into an endpoint.
func (m *Manager) seal(e *store.Endpoint, k *sealed) error {
	text, err := json.Marshal(k)
	if err != nil {
		return err
	}
	if m.aead != nil {
		text = append([]byte(sealedBy), m.aead.Seal(nil, nil, text, placeOf(e))...)
	}
	e.Sealed = string(text)
	return nil
}

// open returns what an endpoint keeps secret. The error shows none of it.
func (m *Manager) open(e *store.Endpoint) (k sealed, err error) {
	text := []byte(e.Sealed)
	if len(text) > 0 && text[0] == sealedBy[0] {
		if m.aead == nil {
			return k, errors.New("the endpoint is sealed: set Manager.Secret")
		}
		if text, err = m.aead.Open(nil, nil, text[1:], placeOf(e)); err != nil {
			return k, errors.New("the endpoint was sealed with another Manager.Secret")
		}
	}
	if json.Unmarshal(text, &k) != nil || len(k.Keys) == 0 {
		return sealed{}, errors.New("the endpoint cannot be read: delete it and add it again")
	}
	return k, nil
}

// set returns when the newest secret was made.
func (k *sealed) set() time.Time {
	if len(k.Keys) == 0 {
		return time.Time{}
	}
	return k.Keys[0].Made
}

// rotate adds a new secret. The old ones end after overlap, or earlier if they would
// anyway. At most maxSecrets stay.
func (k *sealed) rotate(secret credentials.Password, now time.Time, overlap time.Duration) {
	keys := []sealedKey{{Secret: secret.Reveal(), Made: now.UTC().Truncate(time.Microsecond)}}
	for _, old := range k.Keys {
		if end := now.Add(overlap).UTC().Truncate(time.Second); old.Until.IsZero() || old.Until.After(end) {
			old.Until = end
		}
		if old.Until.After(now) && len(keys) < maxSecrets {
			keys = append(keys, old)
		}
	}
	k.Keys = keys
}

// overlap returns until when a secret signs beside the newest; zero if none does.
func (k *sealed) overlap(now time.Time) (until time.Time) {
	for _, key := range k.Keys {
		if key.Until.After(now) && key.Until.After(until) {
			until = key.Until
		}
	}
	return until
}

// secrets returns those that sign.
func (k *sealed) secrets(now time.Time) (list []credentials.Password) {
	for _, key := range k.Keys {
		if key.Until.IsZero() || key.Until.After(now) {
			list = append(list, credentials.NewPassword(key.Secret))
		}
	}
	return list
}
