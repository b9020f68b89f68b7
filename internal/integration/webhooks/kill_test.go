package webhooks_test

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	_ "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/internal/integration/services"
	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/relay/webhook"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/sqlstore"
)

// patience is how long anything may take that has to happen.
const patience = 60 * time.Second

// settingsVariable holds the settings of a process that sends webhooks, as JSON, in
// its environment.
const settingsVariable = "WEBHOOKS_SETTINGS"

type settings struct {
	Driver  string
	Dialect sqlstore.Dialect
	DSN     string
	URL     string // of the endpoints' server
	Start   string // begins the IDs of events; empty: publish nothing
}

func TestMain(m *testing.M) {
	if text := os.Getenv(settingsVariable); text != "" {
		if err := serve(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	services.Main(m)
}

var secret = credentials.NewPassword("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")

// open returns the store for webhooks. It is beside another store, as in a product.
func (s *settings) open(ctx context.Context) (*sqlstore.Store, error) {
	db, err := sql.Open(s.Driver, s.DSN)
	if err != nil {
		return nil, err
	}
	hooks := sqlstore.New(db, s.Dialect)
	hooks.TablePrefix = "hooks_"
	for _, st := range []*sqlstore.Store{sqlstore.New(db, s.Dialect), hooks} {
		if err := st.Migrate(ctx); err != nil {
			return nil, err
		}
	}
	return hooks, nil
}

// serve publishes events and sends them until the process is killed or its standard
// input ends. It prints the ID of each event that is published.
func serve(text string) error {
	var s settings
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	spool, err := s.open(ctx)
	if err != nil {
		return err
	}
	hooks := &webhook.Sender{
		Queue: queue.Queue{
			Spool: spool, Lease: 2 * time.Second, Retry: func(int) time.Duration { return 200 * time.Millisecond },
			Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
		},
		Endpoints: func(context.Context, store.TenantID) ([]webhook.Endpoint, error) {
			return []webhook.Endpoint{
				{ID: "shop", URL: s.URL + "/shop", Secrets: []credentials.Password{secret}},
				{ID: "crm", URL: s.URL + "/crm", Secrets: []credentials.Password{secret}},
			}, nil
		},
		AllowAddr: func(a netip.Addr) bool { return a.IsLoopback() },
		AllowHTTP: true,
	}
	go hooks.Run(ctx)
	for i := 0; s.Start != "" && ctx.Err() == nil; i++ {
		var list []store.Event
		for j := range 5 {
			id := fmt.Sprintf("%s_%d_%d", s.Start, i, j)
			list = append(list, store.Event{ID: id, Kind: store.EventDelivered, Time: time.Now(), Tenant: "acme", Mail: id, Recipient: "bob@example.com"})
		}
		if err := hooks.Publish(ctx, list); err != nil {
			continue
		}
		for _, e := range list {
			fmt.Println(e.ID)
		}
	}
	<-ctx.Done()
	return nil
}

// An arrivals is a server for endpoints. It fails now and then.
type arrivals struct {
	mu    sync.Mutex
	times map[string]int // from path and webhook-id
}

func (a *arrivals) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	io.Copy(io.Discard, r.Body)
	switch n := rand.N(100); {
	case n < 5:
		w.WriteHeader(http.StatusInternalServerError)
		return
	case n < 6:
		panic(http.ErrAbortHandler)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.times[r.URL.Path+" "+r.Header.Get("webhook-id")]++
}

// A process sends webhooks.
type process struct {
	cmd    *exec.Cmd
	stderr strings.Builder
	exited chan struct{}

	mu  sync.Mutex
	ids []string // that were published
}

func start(t *testing.T, s settings) *process {
	t.Helper()
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	p := &process{cmd: exec.Command(os.Args[0]), exited: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), settingsVariable+"="+string(text))
	p.cmd.Stderr = &p.stderr
	if _, err := p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.exited)
		for lines := bufio.NewReader(stdout); ; {
			line, err := lines.ReadString('\n')
			if err != nil {
				break // a part of a line is not an ID
			}
			p.mu.Lock()
			p.ids = append(p.ids, strings.TrimSpace(line))
			p.mu.Unlock()
		}
		p.cmd.Wait() // how it ended is of no interest
	}()
	t.Cleanup(p.kill)
	return p
}

// published returns the IDs of the events that the process has published.
func (p *process) published() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ids
}

// wait waits until the process has published so many events more.
func (p *process) wait(t *testing.T, events int) {
	t.Helper()
	want := len(p.published()) + events
	for end := time.Now().Add(patience); len(p.published()) < want; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			p.kill()
			t.Fatalf("%d events published after %v, want %d; log:\n%s", len(p.published()), patience, want, p.stderr.String())
		}
	}
}

// kill kills the process, as kill -9 does, and returns when it is gone.
func (p *process) kill() {
	p.cmd.Process.Kill()
	<-p.exited
}

// Events that were published reach both endpoints, whenever one of two processes is
// killed.
func TestKill(t *testing.T) {
	for _, backend := range []struct {
		name    string
		driver  string
		dialect sqlstore.Dialect
		create  func(testing.TB) string
	}{
		{"SQLite", "sqlite", sqlstore.SQLite, func(t testing.TB) string {
			return "file:" + filepath.Join(t.TempDir(), "gatepost.db") + "?_pragma=busy_timeout(10000)&_pragma=synchronous(FULL)"
		}},
		{"PostgreSQL", "pgx", sqlstore.Postgres, services.Postgres},
		{"MariaDB", "mysql", sqlstore.MySQL, services.MariaDB},
	} {
		t.Run(backend.name, func(t *testing.T) {
			if backend.name != "SQLite" {
				services.OnlyLong(t)
			}
			got := &arrivals{times: make(map[string]int)}
			srv := httptest.NewServer(got)
			srv.Config.ErrorLog = nil
			defer srv.Close()
			s := settings{Driver: backend.driver, Dialect: backend.dialect, DSN: backend.create(t), URL: srv.URL}
			killSome(t, s, got)
		})
	}
}

func killSome(t *testing.T, s settings, got *arrivals) {
	spool, err := s.open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var published []string
	rounds := 1
	if services.Long() {
		rounds = 5
	}
	for i := range rounds {
		var nodes []*process
		for _, name := range []string{"a", "b"} {
			s.Start = fmt.Sprintf("%s%d", name, i)
			nodes = append(nodes, start(t, s))
		}
		for _, p := range nodes {
			p.wait(t, 20+rand.N(200))
			p.kill()
			published = append(published, p.published()...)
		}
	}
	s.Start = ""
	last := start(t, s)
	for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		depth, err := spool.Depth(t.Context())
		if err == nil && depth.Deliveries == 0 {
			break
		}
		if time.Now().After(end) {
			last.kill()
			t.Fatalf("after %v the spool holds %+v, %v; log:\n%s", patience, depth, err, last.stderr.String())
		}
	}
	last.kill()
	got.mu.Lock()
	defer got.mu.Unlock()
	repeated := 0
	for _, id := range published {
		for _, path := range []string{"/shop ", "/crm "} {
			if n := got.times[path+id]; n == 0 {
				t.Errorf("event %s did not reach %s", id, path)
			} else {
				repeated += n - 1
			}
		}
	}
	t.Logf("%d events published, %d requests taken, %d of them repetitions", len(published), len(got.times)+repeated, repeated)
}
