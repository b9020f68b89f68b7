package metrics_test

import (
	"log"
	"net/http"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/metrics"
	"github.com/gatepost-mail/gatepost/relay/queue"
)

func ExampleHandler() {
	var (
		srv *relay.Server
		q   *queue.Queue
	)
	// … fill them in and start them.

	mux := http.NewServeMux()
	mux.Handle("GET /metrics", &metrics.Handler{Server: srv, Queue: q})
	log.Fatal(http.ListenAndServe("127.0.0.1:9587", mux)) // only the monitoring reaches it
}
