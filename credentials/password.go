package credentials

import (
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
)

// redacted is printed instead of a Password.
const redacted = "[redacted]"

// A Password holds the text of a password, which only [Password.Reveal] returns.
// Printing it with any verb, logging it, or encoding it as JSON, XML or text
// gives "[redacted]"; encoding/gob refuses it. This is true for values and
// pointers, also inside other values.
//
// Two Passwords are == only if one is a copy of the other, even if their texts
// are equal. The zero Password is the empty text.
type Password struct {
	// This is a pointer, because fmt prints unexported fields but does not
	// follow pointers, and it points to a func, because some debug printers do.
	secret *secret
}

type secret struct{ reveal func() string }

// NewPassword returns a Password with the given text, which a client sent. New
// passwords come from [Tenant.AddUser] and [Tenant.ResetPassword].
func NewPassword(text string) Password {
	return Password{&secret{func() string { return text }}}
}

// generatePassword returns a new password of 130 random bits. It has 26 letters
// and digits and needs no quotes in .env files, URLs and shells.
func generatePassword() Password { return NewPassword(rand.Text()) }

// Reveal returns the text.
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

// MarshalText returns "[redacted]" (see [encoding.TextMarshaler]). A Password
// cannot be decoded.
func (p Password) MarshalText() ([]byte, error) { return []byte(redacted), nil }
