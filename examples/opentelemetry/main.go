// Opentelemetry shows how to pass the counts of a relay to OpenTelemetry. For a
// minute it prints every five seconds what an exporter gets. A product uses an exporter such as otlpmetrichttp instead of
// stdoutmetric.
package main

import (
	"context"
	"log"
	"time"

	"go.opentelemetry.io/otel/exporters/stdout/stdoutmetric"
	"go.opentelemetry.io/otel/sdk/metric"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/store/memory"
)

func main() {
	// A product fills in and starts both, as the other examples do.
	srv := new(relay.Server)
	q := &queue.Queue{Spool: new(memory.Store)}

	exporter, err := stdoutmetric.New(stdoutmetric.WithPrettyPrint())
	if err != nil {
		log.Fatal(err)
	}
	reader := metric.NewPeriodicReader(exporter, metric.WithInterval(5*time.Second), metric.WithProducer(&producer{srv: srv, queue: q, start: time.Now()}))
	provider := metric.NewMeterProvider(metric.WithReader(reader))
	time.Sleep(time.Minute)
	if err := provider.Shutdown(context.Background()); err != nil {
		log.Fatal(err)
	}
}
