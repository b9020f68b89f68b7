package conformance_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

// BenchmarkEndpointAttempts writes one request to each of 1,000 endpoints, of which each
// has 50 already, and then reads the endpoints. That is what a busy process does once a
// second.
func BenchmarkEndpointAttempts(b *testing.B) {
	for _, be := range databases() {
		b.Run(be.name, func(b *testing.B) {
			st := be.open(b, be.create(b))
			var tenants []store.TenantID
			for i := range 1000 {
				tenants = append(tenants, store.TenantID(fmt.Sprintf("t%03d", i)))
				if err := st.SetEndpoint(b.Context(), store.Endpoint{Tenant: tenants[i], ID: "shop", Types: "message.*", Sealed: fmt.Sprintf("%0200d", i)}); err != nil {
					b.Fatal(err)
				}
			}
			n := 0
			write := func() {
				n++
				list := make([]store.EndpointAttempt, len(tenants))
				for i, tenant := range tenants {
					list[i] = store.EndpointAttempt{
						Tenant: tenant, Endpoint: "shop", ID: fmt.Sprintf("%026d", n), At: time.Now().UTC().Truncate(time.Microsecond), Took: time.Millisecond,
						Event: fmt.Sprint("06ekx8_", n), Type: "message.delivered", Attempt: 1, Status: 200,
					}
				}
				if err := st.AddEndpointAttempts(b.Context(), list, 50); err != nil {
					b.Fatal(err)
				}
			}
			for range 50 {
				write()
			}
			var wrote, read time.Duration
			for b.Loop() {
				start := time.Now()
				write()
				wrote += time.Since(start)
				start = time.Now()
				if list, err := st.ListEndpoints(b.Context(), tenants); err != nil || len(list) != len(tenants) {
					b.Fatal(len(list), err)
				}
				read += time.Since(start)
			}
			b.ReportMetric(float64(wrote.Milliseconds())/float64(b.N), "write-ms")
			b.ReportMetric(float64(read.Microseconds())/1000/float64(b.N), "read-ms")
		})
	}
}
