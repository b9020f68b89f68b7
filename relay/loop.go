package relay

import "bytes"

// maxHops is how many servers a message may have passed. RFC 5321 section 6.3
// wants the number to be large, at least 100.
const maxHops = 100

// countReceived returns the number of Received fields of a header.
func countReceived(header []byte) (n int) {
	for line := range bytes.Lines(header) {
		name, _, ok := bytes.Cut(line, []byte(":"))
		if ok && bytes.EqualFold(bytes.TrimRight(name, " \t"), []byte("Received")) {
			n++
		}
	}
	return n
}
