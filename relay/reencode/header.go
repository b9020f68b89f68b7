package reencode

import (
	"bytes"
	"slices"
	"strings"

	"github.com/gatepost-mail/gatepost/internal/mailheader"
)

// splitFields returns the fields of a header with their folded lines.
func splitFields(header []byte) (fields [][]byte) {
	for len(header) > 0 {
		n, _ := mailheader.FieldSize(header)
		fields = append(fields, header[:n])
		header = header[n:]
	}
	return fields
}

func isField(f []byte, name string) bool {
	got, _, ok := bytes.Cut(f, []byte(":"))
	return ok && strings.EqualFold(string(bytes.TrimRight(got, " \t")), name)
}

// field returns the value of the first field of a name, unfolded.
func field(header []byte, name string) string {
	for _, f := range splitFields(header) {
		if isField(f, name) {
			_, value, _ := bytes.Cut(f, []byte(":"))
			return strings.TrimSpace(strings.ReplaceAll(string(value), "\r\n", ""))
		}
	}
	return ""
}

// declare returns the header of a part whose body is to be encoded.
func declare(header []byte, p part, top bool) []byte {
	encoding := "quoted-printable"
	if p.coding == toBinary {
		encoding = "base64"
	}
	fields := slices.DeleteFunc(splitFields(header), func(f []byte) bool { return isField(f, "Content-Transfer-Encoding") })
	add := "Content-Transfer-Encoding: " + encoding + "\r\n"
	if top && field(header, "MIME-Version") == "" {
		add = "MIME-Version: 1.0\r\n" + add
	}
	if field(header, "Content-Type") == "" && p.eightBit {
		charset := "utf-8"
		if p.invalid {
			charset = "unknown-8bit" // RFC 1428
		}
		add += "Content-Type: text/plain; charset=" + charset + "\r\n"
	}
	return slices.Concat(bytes.Join(fields, nil), []byte(add))
}

// fold returns the header with a line break before white space in each line over
// maxLine, if the line has white space.
func fold(header []byte) []byte {
	var out bytes.Buffer
	for _, f := range splitFields(header) {
		strict := isField(f, "From") || isField(f, "Sender")
		for line := range bytes.Lines(f) {
			for isLong(line) {
				n := foldPoint(line, strict)
				if n == 0 {
					break
				}
				out.Write(line[:n])
				out.WriteString("\r\n")
				line = line[n:]
			}
			out.Write(line)
		}
	}
	return out.Bytes()
}

// foldPoint returns the offset of the last white space in a line at which it can be
// folded, or 0. A place inside a quoted string or comment is the last choice; a
// strict field, such as From, is not folded there at all.
func foldPoint(line []byte, strict bool) int {
	outside, inside, depth, quoted := 0, 0, 0, false
	for i := 0; i <= maxLine; i++ {
		switch ch := line[i]; {
		case ch == '\\' && (quoted || depth > 0):
			i++
		case ch == '"' && depth == 0:
			quoted = !quoted
		case ch == '(' && !quoted:
			depth++
		case ch == ')' && !quoted && depth > 0:
			depth--
		case ch != ' ' && ch != '\t', len(bytes.TrimSpace(line[:i])) == 0, len(bytes.TrimSpace(line[i:])) == 0:
		case quoted || depth > 0:
			inside = i
		default:
			outside = i
		}
	}
	if outside == 0 && !strict {
		return inside
	}
	return outside
}
