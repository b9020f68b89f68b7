package chaos_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/smtp"
	"net/textproto"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A load sends messages, and knows of each what it was answered.
type load struct {
	conns int
	pause time.Duration // between the messages of one connection
	large int           // every so many messages one is large; 0: none
	also  []string      // each message has more recipients, whose names end in these

	sent   atomic.Int64
	mu     sync.Mutex
	begun  map[string]time.Time // when the content of a message began to be sent, by token
	kept   map[string]string    // those that got 250: the name of the node
	codes  map[int]int          // the other replies
	stages map[string]int       // and where they were given
}

// run sends to the nodes, each connection to another, until the function it
// returns is called. That one waits for the end.
func (l *load) run(t *testing.T, nodes ...*node) (stop func()) {
	if l.kept == nil {
		l.begun, l.kept = make(map[string]time.Time), make(map[string]string)
		l.codes, l.stages = make(map[int]int), make(map[string]int)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	for i := range l.conns {
		all.Go(func() {
			for n := nodes[i%len(nodes)]; ctx.Err() == nil; {
				l.failed(l.connection(ctx, n))
				select {
				case <-ctx.Done():
				case <-time.After(50 * time.Millisecond):
				}
			}
		})
	}
	stop = func() {
		cancel()
		all.Wait()
	}
	t.Cleanup(stop)
	return stop
}

// connection sends messages over one connection until something fails.
func (l *load) connection(ctx context.Context, n *node) error {
	addr, username, password := n.account()
	if addr == "" {
		return nil
	}
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil // it was killed
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	c, err := smtp.NewClient(conn, "127.0.0.1")
	if err != nil {
		return err
	}
	if err := c.Auth(smtp.PlainAuth("", username, password, "127.0.0.1")); err != nil {
		return fmt.Errorf("AUTH: %w", err)
	}
	for ctx.Err() == nil {
		conn.SetDeadline(time.Now().Add(patience))
		if err := l.message(c, n); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(l.pause):
		}
	}
	return c.Quit()
}

const (
	smallSize = 2 << 10
	largeSize = 600 << 10 // more than memory has room for, and more than one piece of the spool
)

// message sends one message.
func (l *load) message(c *smtp.Client, n *node) error {
	number := l.sent.Add(1)
	token := fmt.Sprintf("t%06d", number)
	size := smallSize
	if l.isLarge(token) {
		size = largeSize
	}
	if err := c.Mail("load@" + domain); err != nil {
		return fmt.Errorf("MAIL: %w", err)
	}
	for _, tag := range append([]string{""}, l.also...) {
		if err := c.Rcpt(token + tag + "@example.net"); err != nil {
			return fmt.Errorf("RCPT: %w", err)
		}
	}
	l.mu.Lock()
	l.begun[token] = time.Now()
	l.mu.Unlock()
	w, err := c.Data()
	if err != nil {
		return fmt.Errorf("DATA: %w", err)
	}
	if _, err := w.Write(content(token, size)); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("end of data: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.kept[token] = n.name
	return nil
}

func (l *load) isLarge(token string) bool {
	number, err := strconv.Atoi(strings.TrimPrefix(token, "t"))
	return err == nil && l.large > 0 && number%l.large == 0
}

// content is a message that has a token everywhere, and so can't be mistaken for
// another or be cut short.
func content(token string, size int) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "From: load@%s\r\nSubject: %s\r\n\r\n", domain, token)
	for line := 0; b.Len() < size; line++ {
		fmt.Fprintf(&b, "%s %06d %050d\r\n", token, line, line)
	}
	b.WriteString("end " + token + "\r\n")
	return []byte(b.String())
}

// failed counts a reply other than 250. Other errors of a connection are not
// replies.
func (l *load) failed(err error) {
	var reply *textproto.Error
	if !errors.As(err, &reply) {
		return
	}
	stage, _, _ := strings.Cut(err.Error(), ":")
	l.mu.Lock()
	defer l.mu.Unlock()
	l.codes[reply.Code]++
	l.stages[fmt.Sprintf("%s %d", stage, reply.Code)]++
}

// accepted returns how many messages got 250.
func (l *load) accepted() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.kept)
}

// refused returns how often a reply was given.
func (l *load) refused(code int) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.codes[code]
}

// wantCodes fails the test if there was a refusal of another code.
func (l *load) wantCodes(t *testing.T, codes ...int) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	left := make(map[int]bool)
	for code := range l.codes {
		left[code] = true
	}
	for _, code := range codes {
		delete(left, code)
	}
	if len(left) > 0 {
		t.Errorf("clients were told %v, want nothing but %v", l.stages, codes)
	}
}
