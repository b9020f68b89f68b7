package mailheader

import (
	"math/bits"
	"strings"
)

// A kind is a set of things that names, comments and local parts may have.
type kind uint8

const (
	kindAt      kind = 1 << iota // an @ in a name or comment
	kindEscape                   // an escaped character in a quoted string
	kindSpecial                  // a special character in a quoted string
	kindLocal                    // a quoted local part
	kindSyntax                   // a special character in an encoded word, an angle bracket or quote in a comment, an empty quoted string, a group, two pieces with an @
)

// isMisread reports whether a program that misreads one of the kinds may take text of
// another for an address. The programs that were tried agree on text of a single
// kind, and on every quoted string that has neither of the last two kinds.
func (k kind) isMisread() bool {
	return k&(kindLocal|kindSyntax) != 0 && bits.OnesCount8(uint8(k)) > 1
}

// ifAny returns k if text has one of chars, otherwise 0.
func (k kind) ifAny(text, chars string) kind {
	if strings.ContainsAny(text, chars) {
		return k
	}
	return 0
}
