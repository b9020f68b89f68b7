package credentials

import (
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
)

// redacted is what a Password shows of itself.
const redacted = "[redacted]"

// A Password holds the text of a password and gives it to nobody but the
// caller of [Password.Reveal]. Printing it with any verb, logging it, encoding
// it as JSON, XML or text shows "[redacted]"; encoding/gob refuses it. This
// holds for values and pointers, and inside of other values.
//
// Two Passwords are == only if one is a copy of the other, whatever their
// texts. The zero Password is the empty text.
type Password struct {
	// A pointer, because fmt prints unexported fields and stops at pointers.
	// A func behind it, because some debug printers follow pointers.
	secret *secret
}

type secret struct{ reveal func() string }

// NewPassword makes a Password of what a client sent. Passwords for users are
// made by [Tenant.AddUser] and [Tenant.ResetPassword].
func NewPassword(text string) Password {
	return Password{&secret{func() string { return text }}}
}

// generatePassword returns a new password of 130 random bits, in 26 letters and
// digits, so that it survives .env files, URLs and shells unquoted.
func generatePassword() Password { return NewPassword(rand.Text()) }

// Reveal returns the text. There is no other way to it.
func (p Password) Reveal() string {
	if p.secret == nil {
		return ""
	}
	return p.secret.reveal()
}

// String returns "[redacted]".
func (p Password) String() string { return redacted }

// Format writes "[redacted]" for every verb (see [fmt.Formatter]).
func (p Password) Format(f fmt.State, _ rune) { io.WriteString(f, redacted) }

// LogValue returns "[redacted]" (see [slog.LogValuer]).
func (p Password) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText returns "[redacted]" (see [encoding.TextMarshaler]). There is no
// way back: a Password can't be decoded.
func (p Password) MarshalText() ([]byte, error) { return []byte(redacted), nil }
