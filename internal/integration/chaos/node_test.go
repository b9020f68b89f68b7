package chaos_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	_ "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/history"
	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/relay/smarthost"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/filestore"
	"github.com/gatepost-mail/gatepost/store/sqlstore"
)

// This file is what runs in the process of a relay.

// settingsVariable holds the settings of a relay, as JSON, in the environment of
// its process.
const settingsVariable = "CHAOS_SETTINGS"

// settings are what a relay is told by its test.
type settings struct {
	Driver  string
	Dialect sqlstore.Dialect
	DSN     string

	Hostname string // what it calls itself to the upstream
	Upstream string
	Workers  int
	Retry    time.Duration // between attempts
	Lease    time.Duration
	Node     string
	History  bool // whether it records events, and applies them
	Expire   time.Duration
	Dead     string // the server of the domain dead.example
	NoMemory bool   // all mail is read back from the spool
	ByDomain bool   // each domain is a destination
	Contents string // a directory for large contents; "" means the store's default
	Record   bool   // what becomes of mail is recorded, and applied at once
	Flood    bool   // no relay: it uses up a limit
}

// inFlight is how many deliveries a kill can repeat: those that the workers were
// at, and those that they had handed over to be recorded.
func (s settings) inFlight() int { return 2 * s.Workers }

// A report is what a relay tells its test: a line of JSON on its standard output.
type report struct {
	Addr, Username, Password string `json:",omitempty"` // it is ready; the user is given by the node that added it

	// Event is "delivered", "deferred", "bounced", "expired" or "held". Of an event of
	// the history it is "published", and Recipient is its ID and what it says.
	Event, Recipient string `json:",omitempty"`
}

const domain = "acme.example"

// serve runs a relay until the process is killed, gets SIGTERM, or its standard input
// ends, which it does with the process of the test. At SIGTERM the relay stops as
// docs/operations.md says.
func serve(text string) error {
	var s settings
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return err
	}
	db, err := sql.Open(s.Driver, s.DSN)
	if err != nil {
		return err
	}
	st := sqlstore.New(db, s.Dialect)
	if s.Contents != "" {
		st.Contents = &filestore.Contents{Dir: s.Contents}
	}
	if err := st.Migrate(context.Background()); err != nil {
		return err
	}
	if s.Flood {
		return s.flood(st, reporter(os.Stdout))
	}
	// Logins are to cost nothing: there are many after each kill.
	creds := &credentials.Manager{Store: st, Cost: credentials.Cost{MemoryKiB: 64, Time: 1}}
	ready, err := addUser(creds.Tenant("acme"))
	if err != nil {
		return err
	}
	tell := reporter(os.Stdout)
	q := s.queue(st, tell)
	srv := &relay.Server{Hostname: "relay.test", Credentials: creds, Forwarder: q, InsecureAuth: true, Logger: q.Logger}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	ready.Addr = l.Addr().String()
	if s.Record {
		go applyRecords(st)
		go applyRecords(st)
	}
	if s.History {
		hist := &history.History{Store: st, Logger: q.Logger, Publish: publisher(tell)}
		q.Record, srv.OnEvent = true, hist.OnRelayEvent
		go hist.Run(context.Background())
	}
	ctx, endDelivery := context.WithCancel(context.Background())
	defer endDelivery()
	delivered := make(chan error, 1)
	go func() { delivered <- q.Run(ctx) }()
	go srv.Serve(l)
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	gone := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, os.Stdin)
		gone <- err
	}()
	tell(ready)
	select {
	case err := <-gone:
		return err
	case <-term:
	}
	deadline, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	srv.Shutdown(deadline)
	srv.Close()
	endDelivery()
	return errors.Join(<-delivered, db.Close())
}

// deadly is the domain at whose messages the process dies.
const deadly = "deadly.example"

// dead is the domain whose mail goes to a server of its own.
const dead = "dead.example"

// byDomain hands the mail of the dead domain to another server than the rest.
func (s *settings) byDomain(next relay.Forwarder) relay.Forwarder {
	other := &smarthost.Forwarder{Addr: s.Dead, TLS: smarthost.NoTLS, Hostname: s.Hostname}
	return relay.ForwarderFunc(func(ctx context.Context, m *relay.Message) error {
		if domainOf(m.To[0].Address) == dead {
			return other.Forward(ctx, m)
		}
		return next.Forward(ctx, m)
	})
}

// dying ends the process, as a fault of it would, at a deadly message.
func dying(next relay.Forwarder) relay.Forwarder {
	return relay.ForwarderFunc(func(ctx context.Context, m *relay.Message) error {
		if domainOf(m.To[0].Address) == deadly {
			os.Exit(3)
		}
		return next.Forward(ctx, m)
	})
}

// queue is what the relay is about: mail is kept in the store, and goes to the
// upstream.
func (s *settings) queue(st *sqlstore.Store, tell func(report)) *queue.Queue {
	var destination func(string) string
	if s.ByDomain {
		destination = domainOf
	}
	maxMemory := int64(0)
	if s.NoMemory {
		maxMemory = -1
	}
	return &queue.Queue{
		MaxMemory: maxMemory,
		Spool:     st,
		Next: s.byDomain(dying(&smarthost.Forwarder{
			Addr: s.Upstream, TLS: smarthost.NoTLS, Hostname: s.Hostname, MaxConns: s.Workers,
		})),
		Destination: destination,
		Hostname:    "relay.test",
		Expire:      s.Expire,
		Workers:     s.Workers,
		Retry:       func(int) time.Duration { return s.Retry },
		Lease:       s.Lease,
		Node:        s.Node,
		Record:      s.Record,
		Logger:      slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
		OnEvent: func(e queue.Event) {
			switch e := e.(type) {
			case *queue.Delivered:
				tell(report{Event: "delivered", Recipient: e.Recipient})
			case *queue.Deferred:
				tell(report{Event: "deferred", Recipient: e.Recipient})
			case *queue.Bounced:
				tell(report{Event: "bounced", Recipient: e.Recipient})
			case *queue.Expired:
				tell(report{Event: "expired", Recipient: e.Recipient})
			case *queue.Held:
				tell(report{Event: "held", Recipient: e.Recipient})
			}
		},
	}
}

// publisher returns a History.Publish that reports each event.
func publisher(tell func(report)) func(context.Context, []store.Event) error {
	return func(_ context.Context, events []store.Event) error {
		for _, e := range events {
			tell(report{Event: "published", Recipient: fmt.Sprintf("%s %v %s", e.ID, e.Kind, e.Recipient)})
		}
		return nil
	}
}

// addUser makes the user that all load is sent by, if there is none yet.
func addUser(t credentials.Tenant) (report, error) {
	ctx := context.Background()
	if _, err := t.AddDomain(ctx, domain); errors.Is(err, store.ErrTaken) {
		return report{}, nil
	} else if err != nil {
		return report{}, err
	}
	user, password, err := t.AddUser(ctx, domain, "load")
	return report{Username: user.Username, Password: password.Reveal()}, err
}

// reporter returns a function that writes reports, each with one write, so that
// none is cut short by a kill.
func reporter(w io.Writer) func(report) {
	var mu sync.Mutex
	return func(r report) {
		line, err := json.Marshal(r)
		if err != nil {
			panic(err)
		}
		mu.Lock()
		defer mu.Unlock()
		w.Write(append(line, '\n'))
	}
}

func domainOf(recipient string) string {
	_, domain, _ := strings.Cut(recipient, "@")
	return domain
}

// tokenOf returns what the recipients of one message have in common.
func tokenOf(recipient string) string {
	local, _, _ := strings.Cut(recipient, "@")
	local, _, _ = strings.Cut(local, "+")
	return local
}
