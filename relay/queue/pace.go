package queue

import "time"

// This file is about destinations with a limit of attempts a second.

// paceSite begins one more attempt to a destination at each interval, until one of them
// finds no slot or nothing waits. An attempt may take longer than the interval, so it
// is not enough to begin one when another has ended.
func (q *Queue) paceSite(r *run, destination string, interval time.Duration) {
	if !q.dispatcher.pacing(destination) {
		return
	}
	timer := time.NewTicker(max(interval, time.Millisecond))
	defer timer.Stop()
	for q.dispatcher.pace(destination) {
		select {
		case <-timer.C:
		case <-r.attempts.Done():
		}
	}
}

// pacing reports whether the caller is to call pace until it returns false.
func (d *dispatcher) pacing(destination string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.site(destination)
	mine := s.timed && !s.paced
	s.paced = s.paced || mine
	return mine
}

// pace lets a destination have one attempt more than are under way, and reports whether
// to go on.
func (d *dispatcher) pace(destination string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.site(destination)
	if d.begin == nil || !s.timed || len(s.blocked) == 0 {
		s.paced = false
		return false
	}
	s.slots = s.running + 1
	d.unblock(s)
	d.pump()
	return true
}
