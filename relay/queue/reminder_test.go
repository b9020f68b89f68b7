package queue_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// The log says once that Run was forgotten, a minute after the first message.
func TestForgottenRunIsLogged(t *testing.T) {
	for _, tt := range []struct {
		name string
		run  time.Duration // after the first message; 0: never
		want int
	}{
		{"never called", 0, 1},
		{"called late", 2 * time.Minute, 1},
		{"called in time", 59 * time.Second, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				b := newBench(t)
				b.q.Logger = slog.New(slog.NewTextHandler(&log, nil))
				b.forward(message(1, "shop@acme.example", "bob@example.com"))
				if tt.run > 0 {
					time.Sleep(tt.run)
					b.start()
				}
				for n := range 5 {
					b.forward(message(2+n, "shop@acme.example", "bob@example.com"))
					time.Sleep(time.Minute)
				}
				synctest.Wait()
				if got := strings.Count(log.String(), "queue: Run was not called"); got != tt.want {
					t.Errorf("the log says it %d times, want %d:\n%s", got, tt.want, &log)
				}
			})
		})
	}
}
