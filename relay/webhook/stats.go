package webhook

// SenderStats describes a [Sender] in this process. The counts start at 0 and only grow.
// No field names a tenant. Later versions may add fields. Its queue has the Stats of
// [Sender].Queue.
type SenderStats struct {
	// Dropped is how many events Publish has left out because the Spool was full. Their
	// tenants do not get them, but the history has them. If Publish is repeated, an event
	// may be sent after all, and still counts here.
	Dropped int64
}

// Stats returns a snapshot.
func (s *Sender) Stats() SenderStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return SenderStats{Dropped: s.dropped}
}
