package mx

import "time"

// TLSFailedEarlier sets the clock of what is known of TLS with a host back by an
// interval, as if the host's first failure was that much earlier.
func (f *Forwarder) TLSFailedEarlier(host string, d time.Duration) {
	f.once.Do(f.setup)
	r := f.tlsRecords.get(host)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failed.IsZero() {
		r.failed = time.Now()
	}
	r.failed = r.failed.Add(-d)
}
