// Package daemon has what the examples mta and production share: settings from the
// environment, a log in JSON, two ports, and an orderly end.
package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
)

// Settings are those of every relay.
type Settings struct {
	Hostname          string
	CertFile, KeyFile string
	Listen, ListenTLS string
	ShutdownTimeout   time.Duration
}

// An Env reads settings from the environment and remembers what is wrong there.
type Env struct{ wrong []string }

// Get returns a setting, or its default.
func (e *Env) Get(name, otherwise string) string { return cmp.Or(os.Getenv(name), otherwise) }

// Need returns a setting that has no default. what describes the
// setting for the message.
func (e *Env) Need(name, what string) string {
	v := os.Getenv(name)
	if v == "" {
		e.Wrong("%s is not set: %s", name, what)
	}
	return v
}

// Wrong notes a mistake. The text must not repeat a password.
func (e *Env) Wrong(format string, args ...any) {
	e.wrong = append(e.wrong, fmt.Sprintf(format, args...))
}

// Settings reads the settings that every relay has.
func (e *Env) Settings() Settings {
	s := Settings{
		Hostname:  e.Need("GATEPOST_HOSTNAME", "the relay's name, by which clients know it"),
		CertFile:  e.Need("GATEPOST_CERTIFICATE", "the file of the certificate"),
		KeyFile:   e.Need("GATEPOST_KEY", "the file of the certificate's key"),
		Listen:    e.Get("GATEPOST_LISTEN", ":587"),
		ListenTLS: e.Get("GATEPOST_LISTEN_TLS", ":465"),
	}
	var err error
	if s.ShutdownTimeout, err = time.ParseDuration(e.Get("GATEPOST_SHUTDOWN_TIMEOUT", "10s")); err != nil {
		e.Wrong("GATEPOST_SHUTDOWN_TIMEOUT is not understood: it has to be like 10s")
	}
	return s
}

// Main is the program. Source is its main.go, whose first comment -help prints.
// Read reads the settings; if there is a mistake in them, Main logs it and ends
// the program. Run runs until ctx ends, which a signal does; a second signal ends
// the program at once. After an error the exit status is 1.
func Main[S any](source string, read func(*Env) S, run func(ctx context.Context, set S, log *slog.Logger) error) {
	arguments(source)
	log := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	var env Env
	set := read(&env)
	for _, text := range env.wrong {
		log.Error(text)
	}
	if len(env.wrong) > 0 {
		os.Exit(1)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	if err := run(ctx, set, log); err != nil {
		log.Error(err.Error())
		os.Exit(1)
	}
}

// Serve takes mail until ctx ends or a function of work does. Work delivers what is in the
// queue, and what else goes on beside the server. Serve returns when messages in progress
// have finished, at most after the timeout, and all work has ended.
func (s Settings) Serve(ctx context.Context, srv *relay.Server, log *slog.Logger, work ...func(context.Context) error) error {
	starttls, err := net.Listen("tcp", s.Listen)
	if err != nil {
		return fmt.Errorf("GATEPOST_LISTEN: %w", err)
	}
	defer starttls.Close()
	implicit, err := net.Listen("tcp", s.ListenTLS)
	if err != nil {
		return fmt.Errorf("GATEPOST_LISTEN_TLS: %w", err)
	}
	defer implicit.Close()
	log.Info("listening", "STARTTLS", starttls.Addr().String(), "TLS", implicit.Addr().String())

	working, endWork := context.WithCancel(context.Background())
	defer endWork()
	worked := make(chan error, len(work))
	for _, run := range work {
		go func() { worked <- run(working) }()
	}
	left := len(work)
	ended := make(chan error, 2)
	go func() { ended <- srv.Serve(starttls) }()
	go func() { ended <- srv.ServeTLS(implicit) }()
	select {
	case err = <-ended:
	case err = <-worked: // such as a queue whose node has another process
		left--
		err = errors.Join(err, s.shutDown(srv))
	case <-ctx.Done():
		err = s.shutDown(srv)
	}
	srv.Close()
	endWork() // no more mail comes in
	for ; left > 0; left-- {
		err = errors.Join(err, <-worked)
	}
	return err
}

// shutDown lets messages in progress finish. A message that is cut off was not
// accepted, and its sender knows that.
func (s Settings) shutDown(srv *relay.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), s.ShutdownTimeout)
	defer cancel()
	if srv.Shutdown(ctx) != nil {
		return fmt.Errorf("messages in progress were cut off after %v", s.ShutdownTimeout)
	}
	return nil
}
