package limits

import "context"

// Tick does what Run does once a second.
func (l *Limiter) Tick(ctx context.Context) { l.keepAhead(ctx) }

// Notify does what Run does every two seconds if there is an OnNotice.
func (l *Limiter) Notify(ctx context.Context) { l.notify(ctx) }

// Allowances returns of how many limits this process remembers something.
func (l *Limiter) Allowances() int { return len(l.all()) }
