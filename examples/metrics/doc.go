// Package metrics holds grafana.json, a Grafana dashboard of what package
// relay/metrics serves. Import the file in Grafana and choose a Prometheus data
// source.
package metrics
