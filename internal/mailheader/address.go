package mailheader

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/gatepost-mail/gatepost/internal/mailtext"
)

// maxAddress is the longest address in From or Sender, in bytes. It is the limit of
// a path without its angle brackets (RFC 5321 section 4.5.3.1.3).
const maxAddress = 254

var (
	errMisleading = errors.New("holds an address that programs read in different ways")
	errUnreadable = errors.New("holds no address that can be read (a name with other characters than letters and digits needs double quotes)")
	errFold       = errors.New("has a line break inside a quoted name or a comment")
)

// addresses returns the addresses in the value of From or Sender, without the
// names and comments around them.
func addresses(field string, value []byte) ([]string, error) {
	if len(value) > maxAddresses {
		return nil, fmt.Errorf("the %s field is larger than %d bytes", field, maxAddresses)
	}
	text := string(value)
	err := checkText(text)
	p := &addressParser{rest: text}
	if err == nil {
		err = p.list()
	}
	if err == nil && p.kinds.isMisread() {
		err = errMisleading
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("the %s field %w", field, err)
	case len(p.found) > maxAuthors:
		return nil, fmt.Errorf("the %s field holds more than %d addresses", field, maxAuthors)
	}
	return p.found, nil
}

var (
	// encodedWord matches an encoded word (RFC 2047 section 2). Its text may have
	// characters that section 5 forbids in a name, because encoders leave them
	// as they are: Go's mime.QEncoding makes =?utf-8?q?Caf=C3=A9,_Inc.?=.
	encodedWord = regexp.MustCompile(`=\?[^?\s]+\?[bBqQ]\?[^?\s]*\?=`)
	nameWord    = regexp.MustCompile(`^=\?[^?\s()<>@,;:\\"\[\]]+\?[bBqQ]\?[^?\s<>@\\"]*\?=`)

	// encodedStart matches where some programs begin to decode, in whatever
	// part of the field it is.
	encodedStart = regexp.MustCompile(`=\?[^?]*\?[bBqQ]\?`)
)

// specials are the characters that only an atom in quotes may have (RFC 5322 section
// 3.2.3), as far as nameWord allows them.
const specials = "(),:;[]"

// An addressParser reads an address list (RFC 5322 section 3.4). It accepts less
// than the RFC: an address has no white space or comments inside it, a group
// stands alone, and a quoted string or comment ends on the line it began on.
type addressParser struct {
	rest  string
	found []string

	kinds kind // the union over the whole field

	pieces int  // words and comments around the mailbox so far
	at     bool // one of them has an @
}

// piece records the text of a word or comment.
func (p *addressParser) piece(text string, kinds kind) {
	p.pieces++
	p.at = p.at || strings.Contains(text, "@")
	p.kinds |= kinds
	if p.at {
		p.kinds |= kindAt
	}
	if p.at && p.pieces > 1 {
		p.kinds |= kindSyntax
	}
}

// list reads mailboxes separated by commas, or one group, to the end of the text.
func (p *addressParser) list() error {
	for first := true; ; first = false {
		p.blanks()
		if p.rest == "" {
			break
		}
		if p.take(',') {
			continue
		}
		group, err := p.mailbox()
		switch {
		case err != nil:
			return err
		case group && !first:
			return errUnreadable
		case group:
			p.kinds |= kindSyntax
			return p.group()
		case p.rest != "" && p.rest[0] != ',':
			return errUnreadable
		}
	}
	if len(p.found) == 0 {
		return errUnreadable
	}
	return nil
}

// group reads what follows the colon of a group. Nothing may follow the group.
func (p *addressParser) group() error {
	for {
		p.blanks()
		if p.take(';') {
			break
		}
		if p.take(',') {
			continue
		}
		nested, err := p.mailbox()
		if err != nil {
			return err
		}
		if nested || p.rest == "" || p.rest[0] != ',' && p.rest[0] != ';' {
			return errUnreadable
		}
	}
	p.blanks()
	if p.rest != "" || len(p.found) == 0 {
		return errUnreadable
	}
	return nil
}

// mailbox reads one mailbox with the comments around it, or the name of a group
// with its colon.
func (p *addressParser) mailbox() (group bool, err error) {
	if err := p.skip(); err != nil {
		return false, err
	}
	name, err := p.address()
	if err != nil {
		return false, err
	}
	if name == "" {
		words, err := p.phrase()
		if err != nil {
			return false, err
		}
		if words > 0 && p.take(':') {
			return true, nil
		}
	} else if err := p.skip(); err != nil {
		return false, err
	}
	addr := name
	if p.take('<') {
		if name != "" {
			p.piece(name, 0)
		}
		if addr, err = p.angle(); err != nil {
			return false, err
		}
		// a@b <a@b>: many tools write it, though a name with an @ needs quotes.
		if name != "" && !sameAddress(name, addr) {
			return false, errUnreadable
		}
	}
	if addr == "" {
		return false, errUnreadable
	}
	p.found = append(p.found, addr)
	err = p.skip()
	p.pieces, p.at = 0, false
	return false, err
}

// angle reads what follows the opening angle bracket.
func (p *addressParser) angle() (string, error) {
	p.rest = strings.TrimLeft(p.rest, " \t")
	addr, err := p.address()
	p.rest = strings.TrimLeft(p.rest, " \t")
	if err == nil && (addr == "" || !p.take('>')) {
		err = errUnreadable
	}
	return addr, err
}

// phrase reads the words of a name, which white space or comments separate. It
// returns their number, which may be 0.
func (p *addressParser) phrase() (words int, err error) {
	for ; ; words++ {
		before := len(p.rest)
		if err := p.skip(); err != nil {
			return 0, err
		}
		adjacent := words > 0 && len(p.rest) == before
		switch ok, err := p.word(); {
		case err != nil:
			return 0, err
		case !ok:
			return words, nil
		case adjacent:
			return 0, errUnreadable
		}
	}
}

// word reads an encoded word, a quoted string or an atom. It reports false and reads
// nothing if there is none.
func (p *addressParser) word() (bool, error) {
	if word := nameWord.FindString(p.rest); word != "" {
		p.rest = p.rest[len(word):]
		p.piece(word, kindSyntax.ifAny(word, specials))
		if strings.HasPrefix(p.rest, "<") && strings.ContainsAny(word, specials) {
			return false, errMisleading
		}
		return true, nil
	}
	if strings.HasPrefix(p.rest, `"`) {
		text, err := p.quoted()
		if err != nil {
			return false, err
		}
		kinds := kindEscape.ifAny(text, `\`) | kindSpecial.ifAny(text, specials+"<>")
		if text == "" {
			kinds = kindSyntax
		}
		p.piece(text, kinds)
		if strings.Contains(text, `\\`) {
			return false, errMisleading
		}
		return true, nil
	}
	word := p.rest[:p.until(func(r rune) bool { return isAtext(r) || r == '.' || r >= utf8.RuneSelf })]
	p.rest = p.rest[len(word):]
	if word != "" {
		p.piece(word, 0)
	}
	return word != "", nil
}

// until returns the length of the text before the first character that ok refuses.
func (p *addressParser) until(ok func(rune) bool) int {
	if n := strings.IndexFunc(p.rest, func(r rune) bool { return !ok(r) }); n >= 0 {
		return n
	}
	return len(p.rest)
}

// address reads an addr-spec. If there is none it returns "" and reads nothing.
func (p *addressParser) address() (string, error) {
	start := p.rest
	local, err := p.local()
	if err != nil {
		return "", err
	}
	if local == "" || !p.take('@') {
		p.rest = start
		return "", nil
	}
	domain := p.domain()
	addr := local + "@" + domain
	switch {
	case domain == "":
		return "", errUnreadable
	case len(addr) > maxAddress:
		return "", fmt.Errorf("holds an address of more than %d bytes", maxAddress)
	case encodedStart.MatchString(local):
		return "", errMisleading
	}
	return addr, nil
}

// local reads a local part. It returns a quoted one without quotes if it needs none.
func (p *addressParser) local() (string, error) {
	if p.rest != "" && p.rest[0] == '"' {
		start := p.rest
		text, err := p.quoted()
		if err != nil || p.rest == "" || p.rest[0] != '@' {
			return "", err
		}
		p.kinds |= kindLocal
		if isDotAtom(text) {
			return text, nil
		}
		if text == "" || strings.ContainsFunc(text, func(r rune) bool { return !isAtext(r) && r != '.' && r != ' ' }) {
			return "", errMisleading
		}
		return start[:len(start)-len(p.rest)], nil
	}
	local := p.rest[:p.until(func(r rune) bool { return isAtext(r) || r == '.' })]
	if !isDotAtom(local) {
		return "", nil
	}
	p.rest = p.rest[len(local):]
	return local, nil
}

// domain reads a domain or an address literal. It returns "" if there is none.
func (p *addressParser) domain() string {
	domain := p.rest[:p.until(isDomainRune)]
	if p.rest != "" && p.rest[0] == '[' {
		domain = p.rest[:strings.IndexByte(p.rest, ']')+1]
		if _, ok := mailtext.AddressLiteral(domain); !ok {
			return ""
		}
	} else if !isDotAtom(domain) {
		return ""
	}
	p.rest = p.rest[len(domain):]
	return domain
}

// quoted reads a quoted string and returns what is between the quotes.
func (p *addressParser) quoted() (string, error) {
	for i := 1; i < len(p.rest); i++ {
		switch p.rest[i] {
		case '\r':
			return "", errFold
		case '\\':
			i++
			if i < len(p.rest) && p.rest[i] == '\r' {
				return "", errFold
			}
		case '"':
			text := p.rest[1:i]
			p.rest = p.rest[i+1:]
			return text, nil
		}
	}
	return "", errUnreadable
}

// blanks reads white space and line breaks.
func (p *addressParser) blanks() { p.rest = strings.TrimLeft(p.rest, " \t\r\n") }

// skip reads white space and comments.
func (p *addressParser) skip() error {
	for {
		p.blanks()
		if p.rest == "" || p.rest[0] != '(' {
			return nil
		}
		if err := p.comment(); err != nil {
			return err
		}
	}
}

// comment reads a comment. It refuses a comment inside a comment and a backslash,
// because some programs end the comment early there.
func (p *addressParser) comment() error {
	i := strings.IndexAny(p.rest[1:], "()\\\r") + 1
	switch {
	case i == 0:
		return errUnreadable
	case p.rest[i] == '\r':
		return errFold
	case p.rest[i] != ')':
		return errMisleading
	}
	text := p.rest[1:i]
	p.piece(text, kindSyntax.ifAny(text, `<"`))
	p.rest = p.rest[i+1:]
	return nil
}

// take reads one character if it is next.
func (p *addressParser) take(ch byte) bool {
	if p.rest == "" || p.rest[0] != ch {
		return false
	}
	p.rest = p.rest[1:]
	return true
}
