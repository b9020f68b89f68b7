package queue

import (
	"fmt"
	"testing"

	"github.com/gatepost-mail/gatepost/store"
)

// BenchmarkLanes measures what the poller does every second with the dispatcher's lock,
// while 100,000 lanes have a job.
func BenchmarkLanes(b *testing.B) {
	d := &dispatcher{limits: limits{total: 64, perSite: 10, memory: 1 << 30}}
	var jobs []*job
	for i := range 100_000 {
		lane := store.Lane{Destination: fmt.Sprintf("d%d.example", i), Tenant: store.TenantID(fmt.Sprintf("t%d", i))}
		jobs = append(jobs, &job{parcel: newParcel(&store.Mail{}), lane: lane, leased: true})
	}
	d.mu.Lock()
	d.add(jobs)
	d.mu.Unlock()
	paused := map[store.TenantID]bool{"t1": true}
	for name, f := range map[string]func(){
		"demand":       func() { d.demand() },
		"pauseTenants": func() { d.pauseTenants(paused) },
		"sweep":        d.sweep,
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				f()
			}
		})
	}
}
