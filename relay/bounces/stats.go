package bounces

import "sync/atomic"

// ReceiverStats describes a [Receiver]. The counts start at 0 and only grow. No field
// names a tenant or an address. Later versions may add fields.
type ReceiverStats struct {
	Messages int64 // messages that Receive has taken
	Refused  int64 // those that it has refused for good
	Failed   int64 // those with a temporary error, such as one of Bounced

	// Recorded counts recipients that Bounced was told of, also those of repeated reports
	// and members of lists.
	Recorded int64

	NotFound int64 // recipients of mail that Bounced did not find
	Unsigned int64 // recipients of reports without a valid token
}

// receiverCounts is what ReceiverStats has.
type receiverCounts struct{ messages, refused, failed, recorded, notFound, unsigned atomic.Int64 }

// Stats returns a snapshot.
func (r *Receiver) Stats() ReceiverStats {
	c := &r.stats
	return ReceiverStats{
		Messages: c.messages.Load(), Refused: c.refused.Load(), Failed: c.failed.Load(),
		Recorded: c.recorded.Load(), NotFound: c.notFound.Load(), Unsigned: c.unsigned.Load(),
	}
}

// ServerStats describes a [Server]. The counts start at 0 and only grow. No field names a
// client or an address. Later versions may add fields.
type ServerStats struct {
	Conns             int   // connections that are open
	ConnsRefused      int64 // connections that got 421 because there were too many
	RecipientsRefused int64 // recipients that no Rewriter has made
}

// Stats returns a snapshot. What became of the messages is in the Stats of the Receiver.
func (s *Server) Stats() ServerStats {
	s.counts.mu.Lock()
	defer s.counts.mu.Unlock()
	return ServerStats{Conns: s.counts.all, ConnsRefused: s.refusedConns.Load(), RecipientsRefused: s.refusedRecipients.Load()}
}
