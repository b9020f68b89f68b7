package bounces

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/internal/ascii"
	"github.com/gatepost-mail/gatepost/store"
)

// leastSecret is the least length of a secret, in bytes.
const leastSecret = 16

// checkSecrets returns an error if a secret is missing or too short.
func checkSecrets(field string, secrets []credentials.Password) error {
	if len(secrets) == 0 {
		return fmt.Errorf("bounces: %s is required", field)
	}
	for _, s := range secrets {
		if len(s.Reveal()) < leastSecret {
			return fmt.Errorf("bounces: each of %s must have at least %d bytes", field, leastSecret)
		}
	}
	return nil
}

// The lengths of signatures, in characters of five bits.
const (
	addressMAC = 8
	tokenMAC   = 16
)

// base32Lower has letters that survive a server that changes their case.
var base32Lower = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// sign returns a signature of parts. The use keeps the signatures of addresses and
// of tokens apart.
func sign(secret credentials.Password, size int, use string, parts ...string) string {
	h := hmac.New(sha256.New, []byte(secret.Reveal()))
	for _, p := range append([]string{use}, parts...) {
		binary.Write(h, binary.BigEndian, int64(len(p))) // never fails
		io.WriteString(h, p)
	}
	return base32Lower.EncodeToString(h.Sum(nil))[:size]
}

// signed reports whether mac is a signature of parts by any of the secrets.
func signed(secrets []credentials.Password, mac, use string, parts ...string) bool {
	ok := false
	for _, s := range secrets {
		ok = hmac.Equal([]byte(sign(s, len(mac), use, parts...)), []byte(mac)) || ok
	}
	return ok
}

// A token says which message a report is about.
type token struct {
	mail   string
	tenant store.TenantID
}

// sign returns the token as text for a sender and the domain of the recipients,
// which is "" if they have several. The text has letters, digits, "-", "_", "~" and
// dots.
func (t token) sign(secret credentials.Password, sender, domain string) string {
	mac := sign(secret, tokenMAC, "token", t.mail, string(t.tenant), ascii.Lower(sender), domain)
	return t.mail + "." + armour(string(t.tenant)) + "." + mac
}

// A signedToken is a token with a signature that is not checked yet.
type signedToken struct {
	token
	mac string
}

var errToken = errors.New("not a token")

// parseToken reads the text of a token.
func parseToken(s string) (signedToken, error) {
	parts := strings.Split(s, ".")
	if len(parts) != 3 || parts[0] == "" || len(parts[2]) != tokenMAC {
		return signedToken{}, errToken
	}
	tenant, err := disarm(parts[1])
	if err != nil {
		return signedToken{}, errToken
	}
	return signedToken{token{parts[0], store.TenantID(tenant)}, strings.ToLower(parts[2])}, nil
}

// covers reports whether the token was signed for a sender and a domain.
func (t signedToken) covers(secrets []credentials.Password, sender, domain string) bool {
	return signed(secrets, t.mac, "token", t.mail, string(t.tenant), ascii.Lower(sender), domain)
}

// armour returns s as it is if it has only letters, digits, "-" and "_", and
// otherwise in base64 behind a "~".
func armour(s string) string {
	plain := func(r rune) bool {
		return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '-' || r == '_'
	}
	if strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "~" + base64.RawURLEncoding.EncodeToString([]byte(s))
}

func disarm(s string) (string, error) {
	coded, ok := strings.CutPrefix(s, "~")
	if !ok {
		return s, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(coded)
	return string(b), err
}
