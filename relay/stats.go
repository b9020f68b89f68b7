package relay

import (
	"maps"
	"sync"
)

// Stats describes a [Server]. The counts start at 0 and only grow. No field names a
// client, a user or a tenant.
// Later versions may add fields.
type Stats struct {
	Conns    int // connections that are open, except refused ones
	Sessions int // of these, logged in

	ConnsEnded       int64 // SessionEnded events
	ConnsRefused     int64 // ConnRefused events
	HandshakesFailed int64 // HandshakeFailed events

	Logins          int64                // LoggedIn events
	LoginsRefused   map[LoginCause]int64 // LoginRefused events
	SessionsCutOff  int64                // SessionCutOff events
	CommandsRefused int64                // CommandRefused events

	Messages        int64             // MessageAccepted events
	Recipients      int64             // of these messages
	MessagesRefused map[Refusal]int64 // MessageRefused events

	MessageBytes   Histogram // sizes of accepted messages, in bytes
	ForwardSeconds Histogram // how long the Forwarder took to accept them, in seconds
}

// A Refusal is a kind of [MessageRefused] event.
type Refusal struct {
	Field Field
	Code  int // the SMTP reply code, from 400 to 599
}

// counters is the part of Stats that events change.
type counters struct {
	mu    sync.Mutex
	stats Stats // its maps are nil before the first event or call of Stats
}

// Stats returns a snapshot. It may be called at any time, also before Serve and
// after Shutdown.
func (s *Server) Stats() Stats {
	stats := s.counters.snapshot()
	s.mu.Lock()
	defer s.mu.Unlock()
	stats.Conns = len(s.conns)
	for _, sessions := range s.sessions {
		stats.Sessions += len(sessions)
	}
	return stats
}

func (c *counters) snapshot() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.setUp()
	stats := c.stats
	stats.LoginsRefused = maps.Clone(stats.LoginsRefused)
	stats.MessagesRefused = maps.Clone(stats.MessagesRefused)
	stats.MessageBytes = stats.MessageBytes.Clone()
	stats.ForwardSeconds = stats.ForwardSeconds.Clone()
	return stats
}

// setUp makes what the zero value lacks. The caller must hold c.mu.
func (c *counters) setUp() {
	if c.stats.LoginsRefused != nil {
		return
	}
	c.stats.LoginsRefused = make(map[LoginCause]int64)
	c.stats.MessagesRefused = make(map[Refusal]int64)
	c.stats.MessageBytes = NewHistogram(1<<10, 4<<10, 16<<10, 64<<10, 256<<10, 1<<20, 4<<20, 16<<20, 64<<20)
	c.stats.ForwardSeconds = NewHistogram(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
}

// count counts an event.
func (c *counters) count(e Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.setUp()
	switch e := e.(type) {
	case *LoggedIn:
		c.stats.Logins++
	case *LoginRefused:
		c.stats.LoginsRefused[e.Cause]++
	case *MessageAccepted:
		c.stats.Messages++
		c.stats.Recipients += int64(len(e.To))
		c.stats.MessageBytes.Observe(float64(e.Size))
		c.stats.ForwardSeconds.Observe(e.Took.Seconds())
	case *MessageRefused:
		c.stats.MessagesRefused[Refusal{e.Field, e.Code}]++
	case *CommandRefused:
		c.stats.CommandsRefused++
	case *SessionCutOff:
		c.stats.SessionsCutOff++
	case *SessionEnded:
		c.stats.ConnsEnded++
	case *ConnRefused:
		c.stats.ConnsRefused++
	case *HandshakeFailed:
		c.stats.HandshakesFailed++
	}
}
