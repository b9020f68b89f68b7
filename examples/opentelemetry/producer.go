package main

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/instrumentation"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/queue"
)

// A producer is a [metric.Producer] of what a server and a queue count. The
// OpenTelemetry SDK has no instrument for a histogram that exists already, so the
// producer makes the data itself.
type producer struct {
	srv   *relay.Server
	queue *queue.Queue
	start time.Time // of the process
}

// Produce implements [metric.Producer]. If the Spool fails, it returns the error and
// what this process knows.
func (p *producer) Produce(ctx context.Context) ([]metricdata.ScopeMetrics, error) {
	s := p.srv.Stats()
	q, err := p.queue.Stats(ctx)
	now := time.Now()
	list := []metricdata.Metrics{
		gauge("gatepost.connections.open", now, int64(s.Conns)),
		p.counter("gatepost.messages.accepted", now, s.Messages),
		p.counter("gatepost.recipients.accepted", now, s.Recipients),
		p.histogram("gatepost.message.size", "By", now, s.MessageBytes),
		p.histogram("gatepost.forward.duration", "s", now, s.ForwardSeconds),
		p.refused(now, s.MessagesRefused),
		p.counter("gatepost.queue.delivered", now, q.Delivered),
		p.counter("gatepost.queue.bounced", now, q.Bounced),
		p.histogram("gatepost.queue.attempt.duration", "s", now, q.AttemptSeconds),
	}
	if err == nil {
		list = append(list, gauge("gatepost.queue.deliveries", now, q.Depth.Deliveries), gauge("gatepost.queue.held", now, q.Depth.Held))
	}
	return []metricdata.ScopeMetrics{{Scope: instrumentation.Scope{Name: "github.com/gatepost-mail/gatepost"}, Metrics: list}}, err
}

func gauge(name string, now time.Time, v int64) metricdata.Metrics {
	return metricdata.Metrics{Name: name, Data: metricdata.Gauge[int64]{DataPoints: []metricdata.DataPoint[int64]{{Time: now, Value: v}}}}
}

func (p *producer) counter(name string, now time.Time, v int64) metricdata.Metrics {
	return p.sum(name, []metricdata.DataPoint[int64]{{StartTime: p.start, Time: now, Value: v}})
}

func (p *producer) sum(name string, points []metricdata.DataPoint[int64]) metricdata.Metrics {
	return metricdata.Metrics{Name: name, Data: metricdata.Sum[int64]{
		DataPoints: points, Temporality: metricdata.CumulativeTemporality, IsMonotonic: true,
	}}
}

func (p *producer) refused(now time.Time, counts map[relay.Refusal]int64) metricdata.Metrics {
	var points []metricdata.DataPoint[int64]
	for r, n := range counts {
		attrs := attribute.NewSet(attribute.String("field", string(r.Field)), attribute.Int("code", r.Code))
		points = append(points, metricdata.DataPoint[int64]{Attributes: attrs, StartTime: p.start, Time: now, Value: n})
	}
	return p.sum("gatepost.messages.refused", points)
}

func (p *producer) histogram(name, unit string, now time.Time, h relay.Histogram) metricdata.Metrics {
	point := metricdata.HistogramDataPoint[float64]{StartTime: p.start, Time: now, Bounds: h.Bounds, Sum: h.Sum}
	for _, n := range h.Counts {
		point.Count += uint64(n)
		point.BucketCounts = append(point.BucketCounts, uint64(n))
	}
	return metricdata.Metrics{Name: name, Unit: unit, Data: metricdata.Histogram[float64]{
		DataPoints: []metricdata.HistogramDataPoint[float64]{point}, Temporality: metricdata.CumulativeTemporality,
	}}
}
