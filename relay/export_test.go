package relay

// Count counts an event.
func (s *Server) Count(e Event) { s.counters.count(e) }
