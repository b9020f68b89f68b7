package mailtext

import (
	"strings"
	"unicode"
)

// QuoteLocal returns the local part of an address in the form it has in an SMTP
// command: unchanged if it is a dot-string, and otherwise as a quoted string (RFC
// 5321 section 4.1.2). It reports false if the local part holds a character that
// may not be sent.
func QuoteLocal(local string) (string, bool) {
	if local == "" || !IsGraphic(local) {
		return "", false
	}
	plain := local[0] != '.' && local[len(local)-1] != '.' && !strings.Contains(local, "..")
	if plain && !strings.ContainsAny(local, ` "(),:;<>@[\]`) {
		return local, true
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(local) + `"`, true
}

// IsGraphic reports whether s holds nothing but characters that can be seen,
// spaces, and the joiners of some scripts. Control characters, line separators and
// marks that change the direction of text are none of these.
func IsGraphic(s string) bool {
	for _, r := range s {
		const zwnj, zwj = '\u200c', '\u200d'
		if !unicode.IsGraphic(r) && r != zwnj && r != zwj {
			return false
		}
	}
	return true
}
