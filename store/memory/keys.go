package memory

import (
	"fmt"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

// submissions are the Keys of the mails of a spool. The zero value is empty.
type submissions struct {
	kept  map[userKey]submission
	order []userKey // of kept, roughly by until
}

type userKey struct{ username, key string }

// A submission is the mail that was put with a Key.
type submission struct {
	mail, fingerprint string
	until             time.Time
}

// take keeps the Key of a mail, if it has one. It reports true if the mail was put
// before. It returns an error if another one was.
func (k *submissions) take(m *store.Mail) (repeats bool, err error) {
	if m.Key == "" {
		return false, nil
	}
	name := userKey{m.Username, m.Key}
	if first, ok := k.kept[name]; ok && m.Received.Before(first.until) {
		if first.mail == m.ID {
			return true, nil
		}
		return false, fmt.Errorf("memory: put: %w", &store.DuplicateError{ID: first.mail, Differs: first.fingerprint != m.Fingerprint})
	}
	k.forget(m.Received)
	if k.kept == nil {
		k.kept = make(map[userKey]submission)
	}
	k.kept[name] = submission{m.ID, m.Fingerprint, m.Received.Add(store.KeyTime)}
	k.order = append(k.order, name)
	return false, nil
}

// forget removes what has ended.
func (k *submissions) forget(now time.Time) {
	for len(k.order) > 0 && !now.Before(k.kept[k.order[0]].until) {
		delete(k.kept, k.order[0])
		k.order = k.order[1:]
	}
}
