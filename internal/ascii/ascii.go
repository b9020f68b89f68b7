// Package ascii compares texts in which only the letters A to Z have two cases. Other
// letters may change their length with their case, or belong to another name.
package ascii

// Lower makes the letters A to Z lower case and leaves all other bytes alone. The
// result is as long as s.
func Lower(s string) string {
	for i := range len(s) {
		if isUpper(s[i]) {
			return lower([]byte(s), i)
		}
	}
	return s
}

// lower changes b, from the byte at i on.
func lower(b []byte, i int) string {
	for ; i < len(b); i++ {
		if isUpper(b[i]) {
			b[i] += 'a' - 'A'
		}
	}
	return string(b)
}

func isUpper(c byte) bool { return 'A' <= c && c <= 'Z' }
