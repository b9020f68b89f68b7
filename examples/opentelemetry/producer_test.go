package main

import (
	"testing"
	"time"

	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
	"github.com/gatepost-mail/gatepost/store/memory"
)

// A reader of OpenTelemetry gets what the relay counts.
func TestProducer(t *testing.T) {
	r := relaytest.NewRelay(t)
	if err := r.Send("shop@"+r.Domain, []string{"bob@example.com"}, "From: shop@"+r.Domain+"\r\n\r\nHello.\r\n"); err != nil {
		t.Fatal(err)
	}
	if err := r.Send("shop@other.example", []string{"bob@example.com"}, "\r\n"); err == nil {
		t.Fatal("a sender at another domain is accepted")
	}
	p := &producer{srv: r.Server, queue: &queue.Queue{Spool: new(memory.Store)}, start: time.Now()}
	reader := metric.NewManualReader(metric.WithProducer(p))
	metric.NewMeterProvider(metric.WithReader(reader))
	var got metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &got); err != nil {
		t.Fatal(err)
	}
	values := make(map[string]int64)
	for _, scope := range got.ScopeMetrics {
		for _, m := range scope.Metrics {
			switch data := m.Data.(type) {
			case metricdata.Sum[int64]:
				for _, point := range data.DataPoints {
					values[m.Name] += point.Value
				}
			case metricdata.Histogram[float64]:
				values[m.Name] = int64(data.DataPoints[0].Count)
			}
		}
	}
	for _, name := range []string{"gatepost.messages.accepted", "gatepost.messages.refused", "gatepost.message.size", "gatepost.forward.duration"} {
		if values[name] != 1 {
			t.Errorf("%s is %d, want 1", name, values[name])
		}
	}
}
