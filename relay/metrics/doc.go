// Package metrics serves counts of a relay to Prometheus and other programs that
// read OpenMetrics text.
//
//	http.Handle("/metrics", &metrics.Handler{Server: srv, Queue: q, History: hist, Suppress: list})
//
// The names of all metrics begin with gatepost_. No label value comes from a client:
// labels have few values, however many tenants, users and destinations there are.
// For what one tenant sends, use events.
//
// The package imports nothing outside the standard library and this module. A
// program with another metrics library can read [relay.Server.Stats],
// [queue.Queue.Stats] and [history.History.Backlog] instead, as the example opentelemetry does.
package metrics
