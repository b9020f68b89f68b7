package credentials

import (
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/text/unicode/norm"
)

// maxFolded is the maximum length of a folded text in bytes, as stores take it.
const maxFolded = 1024

// fold returns a text in the form in which names are sorted and searched: without
// case, and without the accents of Latin, Greek and Cyrillic letters. So "muller"
// finds "Müller" and stands beside it. The marks of other scripts stay, because there
// they are letters.
func fold(text string) string {
	text = norm.NFKD.String(strings.ToValidUTF8(text, ""))
	text = strings.Map(func(r rune) rune {
		if r == 0 || r >= 0x300 && r <= 0x36F { // combining diacritical marks
			return -1
		}
		return r
	}, strings.ToLower(text))
	text = letters.Replace(text)
	if len(text) <= maxFolded {
		return text
	}
	end := maxFolded
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end]
}

// letters replaces lower-case letters that Unicode does not take apart.
var letters = strings.NewReplacer("ß", "ss", "æ", "ae", "œ", "oe", "ø", "o", "ł", "l", "đ", "d", "ð", "d", "þ", "th", "ı", "i", "ς", "σ")

// foldDomain returns the folded Unicode form of a domain that is normalized.
func foldDomain(name string) string {
	if unicode, err := idna.ToUnicode(name); err == nil {
		name = unicode
	}
	return fold(name)
}
