package bounces

import (
	"bytes"
	"encoding/base64"
	"io"
	"mime"
	"mime/quotedprintable"
	"strings"

	"github.com/gatepost-mail/gatepost/internal/ascii"
)

// The limits of what is looked at.
const (
	maxDepth      = 5        // of multiparts in each other
	maxParts      = 50       // of one multipart
	maxRecipients = 500      // of a report
	maxFields     = 500      // of a header, or of a group of a delivery status
	maxValue      = 16 << 10 // bytes of a folded field; the rest is left out
)

// An entity is a message or a part of one.
type entity struct {
	header fields
	body   []byte
}

// fields are the fields of a header. Names are in lower case; values are unfolded.
type fields []field

type field struct{ name, value string }

// get returns the value of the first field with a name.
func (f fields) get(name string) string {
	for i := range f {
		if f[i].name == name {
			return f[i].value
		}
	}
	return ""
}

// entityOf parses a header and what follows it.
func entityOf(content []byte) entity {
	header, rest := readFields(content)
	return entity{header, rest}
}

// readFields reads fields up to the first empty line, and returns what follows that
// line. It skips lines that are not a field.
func readFields(b []byte) (f fields, rest []byte) {
	for len(b) > 0 {
		var line []byte
		line, b = cutLine(b)
		if len(bytes.TrimSpace(line)) == 0 {
			return f, b
		}
		if line[0] == ' ' || line[0] == '\t' {
			if n := len(f); n > 0 && len(f[n-1].value) < maxValue {
				f[n-1].value += " " + string(bytes.TrimSpace(line))
			}
			continue
		}
		name, value, ok := bytes.Cut(line, []byte(":"))
		if ok && len(f) < maxFields {
			f = append(f, field{string(bytes.ToLower(bytes.TrimSpace(name))), string(bytes.TrimSpace(value))})
		}
	}
	return f, nil
}

// cutLine cuts the first line off b, without its line end.
func cutLine(b []byte) (line, rest []byte) {
	line, rest, _ = bytes.Cut(b, []byte("\n"))
	return bytes.TrimSuffix(line, []byte("\r")), rest
}

// A walk collects what the parts of a message say.
type walk struct {
	report   Report
	text     []byte // the first text for people
	returned bool   // a header was found
}

// entity looks at a message or part at some depth.
func (w *walk) entity(e entity, depth int) {
	kind, params := contentType(e.header)
	switch {
	case strings.HasPrefix(kind, "multipart/"):
		if depth < maxDepth {
			for _, part := range split(e.body, params["boundary"]) {
				w.entity(entityOf(part), depth+1)
			}
		}
	case kind == "text/plain" || kind == "":
		if w.text == nil {
			w.text = decode(e)
		}
	case depth == 0: // a message that is passed on is not a report
	case kind == "message/delivery-status", kind == "message/global-delivery-status":
		w.status(decode(e))
	case kind == "message/rfc822", kind == "message/global",
		kind == "text/rfc822-headers", kind == "text/rfc822-header", kind == "message/rfc822-headers", kind == "message/global-headers":
		w.original(decode(e))
	}
}

// original notes the header of the returned message. The first one counts.
func (w *walk) original(content []byte) {
	header, _ := readFields(bytes.TrimLeft(content, "\r\n"))
	if w.returned || len(header) == 0 {
		return
	}
	w.returned = true
	w.report.MessageID = header.get("message-id")
	w.report.Token = header.get(strings.ToLower(tokenField))
}

// contentType returns the media type of an entity in lower case, and its
// parameters.
func contentType(h fields) (string, map[string]string) {
	value := h.get("content-type")
	kind, params, err := mime.ParseMediaType(value)
	if err == nil {
		return kind, params
	}
	// A parameter is broken: take the type, and the boundary if there is one.
	kind, rest, _ := strings.Cut(value, ";")
	params = map[string]string{}
	if i := strings.Index(ascii.Lower(rest), "boundary="); i >= 0 {
		b := rest[i+len("boundary="):]
		if quoted, ok := strings.CutPrefix(b, `"`); ok {
			b, _, _ = strings.Cut(quoted, `"`)
		} else {
			if end := strings.IndexAny(b, "; \t("); end >= 0 {
				b = b[:end]
			}
		}
		params["boundary"] = strings.TrimSpace(b)
	}
	return strings.ToLower(strings.TrimSpace(kind)), params
}

// split returns the parts of a multipart (RFC 2046 section 5.1). The last part may
// lack the line that ends it. Without a boundary, split takes the first line that
// looks like one.
func split(body []byte, boundary string) (parts [][]byte) {
	delimiter := []byte("--" + boundary)
	start, at := -1, 0
	for rest := body; len(rest) > 0; {
		var line []byte
		begin := at
		line, rest = cutLine(rest)
		at = len(body) - len(rest)
		line = bytes.TrimRight(line, " \t")
		if boundary == "" && len(line) > 2 && bytes.HasPrefix(line, []byte("--")) {
			boundary, delimiter = string(line[2:]), line
		}
		last := bytes.Equal(line, append(delimiter[:len(delimiter):len(delimiter)], "--"...))
		if boundary == "" || !last && !bytes.Equal(line, delimiter) {
			continue
		}
		if start >= 0 {
			parts = append(parts, body[start:begin])
		}
		if start = at; last || len(parts) == maxParts {
			return parts
		}
	}
	if start >= 0 {
		parts = append(parts, body[start:])
	}
	return parts
}

// decode returns the body of an entity without its transfer encoding. It leaves out
// the rest of a body that it cannot decode.
func decode(e entity) []byte {
	var r io.Reader
	switch strings.ToLower(e.header.get("content-transfer-encoding")) {
	case "base64":
		r = base64.NewDecoder(base64.StdEncoding, bytes.NewReader(e.body))
	case "quoted-printable":
		r = quotedprintable.NewReader(bytes.NewReader(e.body))
	default:
		return e.body
	}
	b, _ := io.ReadAll(r) // of a damaged body, what comes before the damage
	return b
}
