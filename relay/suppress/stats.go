package suppress

// Stats describes a [List] in this process. The counts start at 0 and only grow. No
// field names a tenant or an address. Later versions may add fields.
type Stats struct {
	Learned   int64 // addresses that Learn has added
	Forgotten int64 // addresses that Learn has removed
	Refused   int64 // recipients that AllowRecipient has refused
	Stops     int64 // how often Learn has stopped to learn at a site that refused most recipients

	// Remembered is how many addresses are in memory. A tenant counts for 16 more.
	Remembered int
}

// Stats returns a snapshot.
func (l *List) Stats() Stats {
	s := Stats{Learned: l.learned.Load(), Forgotten: l.forgotten.Load(), Refused: l.refused.Load(), Stops: l.stops.Load()}
	l.memory.mu.Lock()
	defer l.memory.mu.Unlock()
	s.Remembered = l.memory.size
	return s
}
