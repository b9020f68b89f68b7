package limits

import (
	"context"

	"github.com/gatepost-mail/gatepost/credentials"
)

// Tick does what Run does once a second.
func (l *Limiter) Tick(ctx context.Context) { l.keepAhead(ctx) }

// Notify does what Run does every two seconds if there is an OnNotice.
func (l *Limiter) Notify(ctx context.Context) { l.notify(ctx) }

// Allowances returns of how many limits this process remembers something.
func (l *Limiter) Allowances() int { return len(l.all()) }

// Overtake calls f between a look at all limits and forgetting those that are old.
func (l *Limiter) Overtake(f func()) {
	all := l.all()
	f()
	for key, a := range all {
		l.forget(key, a)
	}
}

// Want does what a message does first.
func (l *Limiter) Want(id credentials.Identity, limit Limit) { l.allowance(id, limit) }
