package webhook

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/store"
)

// Add adds an endpoint and returns it with its secret, which nothing shows again. types
// are as in [Endpoint]. [InvalidError]: the URL or a type is not allowed, or a type begins
// with "message." or "login." and no event has it. [ErrLimit]: the tenant has as many
// endpoints as it may have.
func (m *Manager) Add(ctx context.Context, tenant store.TenantID, url string, types []string) (Entry, credentials.Password, error) {
	return m.AddOnce(ctx, tenant, "", url, types)
}

// AddOnce is Add with an ID of the caller's: 1 to 64 letters, digits, "-" and "_". If
// the tenant has an endpoint of this ID, the error is [store.ErrTaken]: so a caller that
// did not get the answer can call again without adding a second endpoint. Its secret is
// lost, and Rotate makes another. An empty ID is made here.
//
// Use an ID only once: events that wait for an endpoint that was deleted go to a new one of
// its ID.
func (m *Manager) AddOnce(ctx context.Context, tenant store.TenantID, id, url string, types []string) (Entry, credentials.Password, error) {
	e := store.Endpoint{Tenant: tenant, ID: id, Created: now()}
	if id == "" {
		e.ID = strings.ToLower(rand.Text()[:16])
	} else if !isName(id, 64) {
		return Entry{}, credentials.Password{}, &InvalidError{"id", "use 1 to 64 letters, digits, - and _"}
	}
	secret := NewSecret()
	err := m.readyFor(tenant)
	if err == nil {
		err = m.fill(&e, url, types, &sealed{Keys: []sealedKey{{Secret: secret.Reveal(), Made: e.Created}}})
	}
	if err == nil {
		err = m.insert(ctx, &e)
	}
	if err != nil {
		return Entry{}, credentials.Password{}, wrap("add endpoint", err)
	}
	m.known.forget(tenant)
	entry, err := m.entry(&e)
	return entry, secret, err
}

// insert adds an endpoint in the first Slot that is free.
func (m *Manager) insert(ctx context.Context, e *store.Endpoint) error {
	for range tries {
		list, err := m.read(ctx, e.Tenant)
		if err != nil {
			return err
		}
		taken := make(map[int]bool)
		for _, is := range list {
			if is.ID == e.ID {
				return store.ErrTaken
			}
			taken[is.Slot] = true
		}
		for e.Slot = 0; taken[e.Slot]; e.Slot++ {
		}
		if e.Slot >= m.max() {
			return ErrLimit
		}
		if err := m.Store.SetEndpoint(ctx, *e); !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
	return store.ErrConflict
}

// tries is how often a change is tried again because another caller was faster.
const tries = 20

// fill checks a URL and types and puts them into an endpoint.
func (m *Manager) fill(e *store.Endpoint, url string, types []string, k *sealed) error {
	url = strings.TrimSpace(url)
	if len(url) > maxURL {
		return &InvalidError{"url", fmt.Sprintf("it has %d bytes, at most %d are allowed", len(url), maxURL)}
	}
	if err := m.Sender.CheckURL(url); err != nil {
		return &InvalidError{"url", strings.TrimPrefix(err.Error(), "webhook: ")}
	}
	types = slices.Compact(slices.Sorted(slices.Values(types)))
	for _, t := range types {
		switch {
		case !typeForm.MatchString(strings.TrimSuffix(t, ".*")):
			return &InvalidError{"types", fmt.Sprintf("%.100q is not a type such as message.delivered or message.*", t)}
		case !isKnown(t):
			return &InvalidError{"types", fmt.Sprintf("no event has the type %.100q", t)}
		}
	}
	if e.Types = strings.Join(types, " "); len(e.Types) > maxTypes {
		return &InvalidError{"types", "there are too many: leave all out to get every type"}
	}
	k.URL = url
	return m.seal(e, k)
}

// isKnown reports whether events of this package have a type, or it may be one of the
// product's own.
func isKnown(t string) bool {
	ours := strings.HasPrefix(t, "message.") || strings.HasPrefix(t, "login.")
	return !ours || strings.HasSuffix(t, ".*") || slices.Contains(slices.Collect(maps.Values(types)), t)
}

// Change changes the URL and the types of an endpoint. It counts for events that wait
// as well. Errors are as those of Add; [store.ErrNotFound]: the tenant has no such
// endpoint.
func (m *Manager) Change(ctx context.Context, tenant store.TenantID, id, url string, types []string) (Entry, error) {
	return m.change(ctx, "change endpoint", tenant, id, func(e *store.Endpoint) error {
		k, err := m.open(e)
		if err != nil {
			return err
		}
		if url != k.URL {
			e.Failing = time.Time{} // the earlier URL failed, not this one
		}
		return m.fill(e, url, types, &k)
	})
}

// SwitchOff stops events to an endpoint. Those that wait are given up, and the tenant's
// events until SwitchOn are never sent to it. reason is for people and must not be empty.
func (m *Manager) SwitchOff(ctx context.Context, tenant store.TenantID, id, reason string) (Entry, error) {
	reason = strings.Join(strings.Fields(strings.ToValidUTF8(reason, "")), " ")
	if reason == "" || len(reason) > maxOff {
		return Entry{}, wrap("switch off endpoint", &InvalidError{"reason", fmt.Sprintf("write 1 to %d bytes", maxOff)})
	}
	return m.change(ctx, "switch off endpoint", tenant, id, func(e *store.Endpoint) error {
		e.Off, e.OffSince = reason, now()
		return nil
	})
}

// SwitchOn lets an endpoint get events again, from now on.
func (m *Manager) SwitchOn(ctx context.Context, tenant store.TenantID, id string) (Entry, error) {
	return m.change(ctx, "switch on endpoint", tenant, id, func(e *store.Endpoint) error {
		e.Off, e.OffSince, e.Failing = "", time.Time{}, time.Time{}
		return nil
	})
}

// Rotate gives an endpoint a new secret and returns it; nothing shows it again. The old
// one signs too for [Manager].Overlap, or until EndOverlap.
func (m *Manager) Rotate(ctx context.Context, tenant store.TenantID, id string) (Entry, credentials.Password, error) {
	return m.rotate(ctx, tenant, id, time.Time{})
}

// RotateOnce is Rotate, if the newest secret is still the one that was made at the given
// time, which is [Entry].SecretSet. So a form that is sent twice makes one secret.
// [store.ErrConflict]: there is a newer one.
func (m *Manager) RotateOnce(ctx context.Context, tenant store.TenantID, id string, set time.Time) (Entry, credentials.Password, error) {
	return m.rotate(ctx, tenant, id, set)
}

// errNewer is not tried again, unlike a conflict of the Store.
var errNewer = errors.New("a newer secret was made")

// rotate is RotateOnce; a zero time stands for any secret.
func (m *Manager) rotate(ctx context.Context, tenant store.TenantID, id string, set time.Time) (Entry, credentials.Password, error) {
	secret := NewSecret()
	entry, err := m.change(ctx, "rotate secret", tenant, id, func(e *store.Endpoint) error {
		k, err := m.open(e)
		if err != nil {
			return err
		}
		if !set.IsZero() && !k.set().Equal(set) {
			return errNewer
		}
		k.rotate(secret, time.Now(), m.overlap())
		return m.seal(e, &k)
	})
	if errors.Is(err, errNewer) {
		err = fmt.Errorf("%w: %w", store.ErrConflict, err)
	}
	if err != nil {
		return Entry{}, credentials.Password{}, err
	}
	return entry, secret, nil
}

func (m *Manager) overlap() time.Duration {
	if m.Overlap == 0 {
		return 24 * time.Hour
	}
	return max(m.Overlap, 0)
}

// EndOverlap ends the old secrets of an endpoint at once.
func (m *Manager) EndOverlap(ctx context.Context, tenant store.TenantID, id string) (Entry, error) {
	return m.change(ctx, "end old secret", tenant, id, func(e *store.Endpoint) error {
		k, err := m.open(e)
		if err != nil {
			return err
		}
		k.Keys = k.Keys[:min(len(k.Keys), 1)]
		return m.seal(e, &k)
	})
}

// Delete removes an endpoint. Events that wait for it are given up.
// [store.ErrNotFound]: the tenant has no such endpoint.
func (m *Manager) Delete(ctx context.Context, tenant store.TenantID, id string) error {
	err := m.readyFor(tenant)
	if err == nil {
		err = noEndpoint(id, m.Store.DropEndpoint(ctx, tenant, id))
	}
	m.known.forget(tenant)
	return wrap("delete endpoint", err)
}

// change reads an endpoint, calls f, and writes what f has changed. If another caller
// changes it in between, f is called again.
func (m *Manager) change(ctx context.Context, op string, tenant store.TenantID, id string, f func(*store.Endpoint) error) (Entry, error) {
	err := store.ErrConflict
	for try := 0; try < tries && errors.Is(err, store.ErrConflict); try++ {
		var e store.Endpoint
		if e, err = m.get(ctx, tenant, id); err != nil {
			break
		}
		before := e
		if err = f(&e); err != nil {
			break
		}
		if e != before {
			err = m.Store.SetEndpoint(ctx, e)
		}
		if err == nil {
			m.known.forget(tenant)
			entry, _ := m.entry(&e)
			return entry, nil
		}
	}
	return Entry{}, wrap(op, err)
}
