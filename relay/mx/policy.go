package mx

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// A policy is what a domain says by MTA-STS (RFC 8461 section 3.2).
type policy struct {
	mode   string // "enforce", "testing" or "none"
	mx     []string
	maxAge time.Duration
}

const (
	enforce  = "enforce"
	testOnly = "testing"

	maxPolicy      = 64 << 10 // bytes (RFC 8461 section 3.3)
	maxPatterns    = 100      // mx lines
	maxPolicyAge   = 31557600 // seconds: a year
	policyVersion  = "STSv1"
	recordBeginsBy = "v=STSv1;"
)

// matches reports whether a host is one of the policy's (RFC 8461 section 4.1): a
// wildcard stands for one label.
func (p *policy) matches(host string) bool {
	_, parent, _ := strings.Cut(host, ".")
	for _, pattern := range p.mx {
		if rest, wild := strings.CutPrefix(pattern, "*."); pattern == host || wild && rest == parent {
			return true
		}
	}
	return false
}

// The grammar of fields, in records and in policies alike.
var (
	fieldName  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,31}$`)
	recordText = regexp.MustCompile(`^[!-:<>-~]+$`) // no blank, semicolon, equals sign
	recordID   = regexp.MustCompile(`^[A-Za-z0-9]{1,32}$`)
)

// parseRecord returns the id of the one MTA-STS record among the TXT records of
// _mta-sts. It returns "" if it finds none, more than one, or a malformed one: the
// domain then has no policy (RFC 8461 section 3.1).
func parseRecord(txts []string) (id string) {
	record := ""
	for _, txt := range txts {
		if !strings.HasPrefix(txt, recordBeginsBy) {
			continue
		}
		if record != "" {
			return ""
		}
		record = txt
	}
	if record == "" {
		return ""
	}
	fields := strings.Split(record, ";")[1:]
	if last := len(fields) - 1; strings.Trim(fields[last], " \t") == "" {
		fields = fields[:last]
	}
	for _, field := range fields {
		name, value, _ := strings.Cut(strings.Trim(field, " \t"), "=")
		switch {
		case !fieldName.MatchString(name) || !recordText.MatchString(value):
			return ""
		case name == "id" && (id != "" || !recordID.MatchString(value)):
			return ""
		case name == "id":
			id = value
		}
	}
	return id
}

// parsePolicy reads a policy. Unknown fields are ignored (RFC 8461 section 3.2); a
// malformed known field is an error.
func parsePolicy(body []byte) (*policy, error) {
	if len(body) > maxPolicy {
		return nil, fmt.Errorf("it is larger than %d bytes", maxPolicy)
	}
	fields := make(map[string]string) // of repeated fields the first counts
	var patterns []string
	n := 0
	for line := range strings.Lines(string(body)) {
		n++
		line = strings.Trim(line, " \t\r\n")
		if line == "" {
			continue
		}
		name, value, colon := strings.Cut(line, ":")
		value = strings.Trim(value, " \t")
		if !colon || !fieldName.MatchString(name) || value == "" {
			return nil, fmt.Errorf("line %d is malformed", n)
		}
		if name == "mx" {
			pattern, ok := mxPattern(value)
			if !ok || len(patterns) == maxPatterns {
				return nil, fmt.Errorf("line %d does not hold a mail host, or holds one too many", n)
			}
			patterns = append(patterns, pattern)
		} else if _, again := fields[name]; !again {
			fields[name] = value
		}
	}
	return makePolicy(fields, patterns)
}

func makePolicy(fields map[string]string, patterns []string) (*policy, error) {
	if fields["version"] != policyVersion {
		return nil, fmt.Errorf("unsupported version %q", fields["version"])
	}
	p := &policy{mx: patterns}
	switch mode := fields["mode"]; mode {
	case enforce, testOnly:
		if len(patterns) == 0 {
			return nil, errors.New("no mail host")
		}
		p.mode = strings.Clone(mode)
	case "none":
		p.mode, p.mx = "none", nil
	default:
		return nil, fmt.Errorf("unknown mode %q", mode)
	}
	age, err := strconv.ParseUint(fields["max_age"], 10, 64)
	if err != nil || len(fields["max_age"]) > 10 {
		return nil, errors.New("max_age is not a number of seconds")
	}
	p.maxAge = time.Duration(min(age, maxPolicyAge)) * time.Second
	return p, nil
}

// mxPattern returns an mx field in the form in which names are compared. It is a copy:
// it does not keep the rest of the policy in memory.
func mxPattern(value string) (string, bool) {
	rest, wild := strings.CutPrefix(value, "*.")
	host, ok := hostName(rest)
	if wild {
		return "*." + host, ok
	}
	return strings.Clone(host), ok
}
