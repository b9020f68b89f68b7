package domains

import (
	"strings"
	"time"

	"github.com/gatepost-mail/gatepost/relay/dkim"
	"github.com/gatepost-mail/gatepost/store"
)

// keepOld is how long the record of a replaced key has to stay: mail that it signed may
// be on its way.
const keepOld = 7 * 24 * time.Hour

// records returns the records of a setup with what was seen of them.
func (m *Manager) records(s *store.Setup) []Record {
	list := m.wanted(s)
	l := readLook(s)
	for i := range list {
		if was, ok := l.Records[list[i].Name]; ok {
			list[i].Status, list[i].Found, list[i].Reason = was.Status, was.Found, was.Reason
		}
	}
	return list
}

// wanted returns the records of a setup.
func (m *Manager) wanted(s *store.Setup) (list []Record) {
	add := func(p Purpose, kind, name, value string, required bool) {
		list = append(list, Record{Purpose: p, Type: kind, Name: name, Value: value, Required: required, Status: NotChecked})
	}
	keys := readKeys(s)
	if len(keys) == 0 {
		for _, selector := range m.selectors() {
			add(DKIM, "CNAME", selector+"._domainkey."+s.Domain, s.Token+"."+selector+"."+m.Zone, true)
		}
	}
	current := currentKey(keys)
	for i, key := range keys {
		if key.Retired.IsZero() || now().Before(key.Retired.Add(keepOld)) {
			add(DKIM, "TXT", key.Selector+"._domainkey."+s.Domain, key.Record, i == current)
		}
	}
	if m.ReturnPath != "" {
		add(ReturnPath, "CNAME", "bounces."+s.Domain, m.ReturnPath, false)
	}
	add(DMARC, "TXT", "_dmarc."+s.Domain, "v=DMARC1; p=none", false)
	return list
}

// currentKey returns the key that signs, or the one that will: the newest one whose
// record was seen, or else the oldest one. It returns 0 if there are none.
func currentKey(keys []ownKey) int {
	for i, key := range keys {
		if !key.Seen.IsZero() {
			return i
		}
	}
	return max(len(keys)-1, 0)
}

// publicRecord returns the whole text of the record of a key that was checked.
func publicRecord(key dkim.Key) string {
	record, _ := key.Record()
	return strings.Join(record, "")
}
