// Package cursor has the places in lists of domains and users between which pages begin
// and end.
package cursor

import (
	"cmp"
	"encoding/base64"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A Cursor is the place of one entry in a list. Lists are sorted by At or by Text,
// and then by Key, which no two entries have in common.
type Cursor struct {
	ByTime bool
	At     int64  // microseconds; 0 unless ByTime
	Text   string // empty if ByTime
	Key    string
}

// Compare returns the order of two cursors of one list.
func Compare(a, b Cursor) int {
	return cmp.Or(cmp.Compare(a.At, b.At), strings.Compare(a.Text, b.Text), strings.Compare(a.Key, b.Key))
}

// String returns c as text that needs no escapes in an address.
func (c Cursor) String() string {
	text := "n" + c.Key + "\x00" + c.Text
	if c.ByTime {
		text = "t" + c.Key + "\x00" + strconv.FormatInt(c.At, 10)
	}
	return base64.RawURLEncoding.EncodeToString([]byte(text))
}

// Parse returns the cursor with the given text. It returns false if the text is not
// that of a cursor of the same order, for example because a person has changed it.
func Parse(text string, byTime bool) (c Cursor, ok bool) {
	data, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(data) == 0 || !utf8.Valid(data) || (data[0] == 't') != byTime || data[0] != 't' && data[0] != 'n' {
		return Cursor{}, false
	}
	key, place, ok := strings.Cut(string(data[1:]), "\x00")
	if !ok || strings.Contains(place, "\x00") {
		return Cursor{}, false
	}
	if !byTime {
		return Cursor{Key: key, Text: place}, true
	}
	at, err := strconv.ParseInt(place, 10, 64)
	return Cursor{ByTime: true, Key: key, At: at}, err == nil
}
