package queue

import (
	"log/slog"

	"github.com/gatepost-mail/gatepost/store"
)

// Released says that a person has released a held delivery.
type Released struct {
	Subject
	By string
}

// Retried says that a person has made a delivery due at once.
type Retried struct {
	Subject
	By string
}

// Canceled says that a person has taken a delivery out of the queue.
type Canceled struct {
	Subject
	Reason string
	By     string
}

// Suspended says that mail to a destination, or of a tenant, is not tried any more.
type Suspended struct {
	Tenant      store.TenantID // "" if it is a destination
	Destination string
	Reason      string
	By          string // the person; "" means that no server was reached
}

// Resumed says that a suspension has ended.
type Resumed struct {
	Tenant      store.TenantID // "" if it is a destination
	Destination string
	By          string // the person; "" means that the destination was reached again
}

func (e *Released) event() (slog.Level, string) { return slog.LevelInfo, "released" }
func (e *Retried) event() (slog.Level, string)  { return slog.LevelInfo, "retried" }
func (e *Canceled) event() (slog.Level, string) { return slog.LevelWarn, "canceled" }

func (e *Suspended) event() (slog.Level, string) {
	if e.By == "" {
		return slog.LevelWarn, "destination can't be reached"
	}
	return slog.LevelWarn, "suspended"
}

func (e *Resumed) event() (slog.Level, string) {
	if e.By == "" {
		return slog.LevelInfo, "destination is back"
	}
	return slog.LevelInfo, "resumed"
}

func (e *Released) attrs() []slog.Attr { return append(e.Subject.attrs(), slog.String("by", e.By)) }
func (e *Retried) attrs() []slog.Attr  { return append(e.Subject.attrs(), slog.String("by", e.By)) }

func (e *Canceled) attrs() []slog.Attr {
	return append(e.Subject.attrs(), slog.String("reason", e.Reason), slog.String("by", e.By))
}

func (e *Suspended) attrs() []slog.Attr {
	return append(suspensionAttrs(e.Tenant, e.Destination, e.By), slog.String("reason", e.Reason))
}

func (e *Resumed) attrs() []slog.Attr { return suspensionAttrs(e.Tenant, e.Destination, e.By) }

func suspensionAttrs(tenant store.TenantID, destination, by string) []slog.Attr {
	what := slog.String("destination", destination)
	if tenant != "" {
		what = slog.String("tenant", string(tenant))
	}
	if by == "" {
		return []slog.Attr{what}
	}
	return []slog.Attr{what, slog.String("by", by)}
}
