package webhook

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/store"
)

// A failure is why an endpoint did not take an event.
type failure struct {
	reason      string
	status      int    // of HTTP; 0 without an answer
	host        string // that answered
	final       bool   // the event is given up
	unreachable bool   // other events would fail as well
}

// Error returns the reason.
func (e *failure) Error() string { return "webhook: " + e.reason }

// Temporary reports whether the event is worth a retry. A status of HTTP says little
// about that: most of them end when the receiver's program is mended.
func (e *failure) Temporary() bool { return !e.final }

// Unreachable reports whether the endpoint should be suspended.
func (e *failure) Unreachable() bool { return e.unreachable }

// ServerReply returns the status, for the queue's events.
func (e *failure) ServerReply() *relay.ReplyError {
	if e.status == 0 {
		return nil
	}
	return &relay.ReplyError{Code: e.status, Text: http.StatusText(e.status), Host: e.host}
}

// forward makes the request that m is, to the endpoint as it is now.
func (s *Sender) forward(ctx context.Context, m *relay.Message) error {
	id, _, _ := strings.Cut(m.To[0].Address, "@")
	tenant := m.Identity.Tenant
	list, err := s.Endpoints(ctx, tenant)
	if err != nil {
		return &failure{reason: "endpoints of the tenant: " + err.Error()}
	}
	for i := range list {
		if list[i].ID != id {
			continue
		}
		name := m.To[0].Address
		if err := s.paused(name); err != nil {
			return err
		}
		body, err := io.ReadAll(m.Content())
		if err != nil {
			return err
		}
		began := time.Now()
		resp, err := s.post(ctx, &list[i], m.Options.EnvelopeID, body)
		if s.OnAttempt != nil && ctx.Err() == nil { // otherwise this process ends
			s.OnAttempt(s.attempt(m, id, body, began, resp, err))
		}
		if err != nil {
			return err
		}
		err = s.judge(name, resp)
		if err == nil && m.OnDelivered != nil {
			m.OnDelivered(relay.NextHop{Host: resp.Request.URL.Hostname(), Reply: resp.Status})
		}
		if resp.StatusCode == http.StatusGone && s.OnGone != nil {
			s.OnGone(tenant, list[i])
		}
		return err
	}
	return &failure{reason: "the tenant has no endpoint " + id + " any more", final: true}
}

// attempt describes a request of the queue.
func (s *Sender) attempt(m *relay.Message, id string, body []byte, began time.Time, resp *http.Response, err error) store.EndpointAttempt {
	var p struct{ Type string }
	_ = json.Unmarshal(body, &p) // it was encoded here
	a := attemptOf(began, resp, err)
	a.Tenant, a.Endpoint, a.Event, a.Type, a.Attempt = m.Identity.Tenant, id, m.Options.EnvelopeID, p.Type, m.Attempt
	return a
}

// attemptOf describes a request that has ended, without what it was about.
func attemptOf(began time.Time, resp *http.Response, err error) store.EndpointAttempt {
	a := store.EndpointAttempt{ID: relay.NewID(), At: began.UTC().Truncate(time.Microsecond), Took: time.Since(began).Truncate(time.Microsecond)}
	if err == nil {
		a.Status = resp.StatusCode
		if f := refusal(resp); f != nil {
			err = f
		}
	}
	if err != nil {
		reason := strings.TrimPrefix(err.Error(), "webhook: ")
		a.Reason = strings.ToValidUTF8(reason[:min(len(reason), maxReason)], "")
	}
	return a
}

// post makes a signed request.
func (s *Sender) post(ctx context.Context, e *Endpoint, id string, body []byte) (*http.Response, error) {
	u, err := e.target(s.AllowHTTP)
	if err != nil {
		return nil, err
	}
	keys, err := e.keys()
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, &failure{reason: "the endpoint's URL cannot be used"}
	}
	now := strconv.FormatInt(time.Now().Unix(), 10)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "gatepost-webhook")
	req.Header.Set("webhook-id", id)
	req.Header.Set("webhook-timestamp", now)
	req.Header.Set("webhook-signature", signatures(keys, id, now, body))
	// net/http may repeat the request if the server has closed an idle connection:
	// it has the same webhook-id. An empty list is not sent.
	req.Header["Idempotency-Key"] = []string{}
	resp, err := s.do(req)
	if err != nil {
		return nil, &failure{reason: err.Error(), unreachable: true}
	}
	return resp, nil
}

// signatures returns a signature of each key, with spaces between them.
func signatures(keys [][]byte, id, timestamp string, body []byte) string {
	var list []string
	for _, key := range keys {
		mac := hmac.New(sha256.New, key)
		fmt.Fprintf(mac, "%s.%s.%s", id, timestamp, body)
		list = append(list, "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}
	return strings.Join(list, " ")
}

// refusal returns why an answer is a failure; nil if it is none.
func refusal(resp *http.Response) *failure {
	status := resp.StatusCode
	if status/100 == 2 {
		return nil
	}
	return &failure{
		reason: fmt.Sprintf("the endpoint answered %d %s", status, http.StatusText(status)),
		status: status,
		host:   resp.Request.URL.Hostname(),
		final:  status == http.StatusGone,
		unreachable: status == http.StatusBadGateway || status == http.StatusServiceUnavailable ||
			status == http.StatusGatewayTimeout,
	}
}

// judge returns what an answer means for the event.
func (s *Sender) judge(name string, resp *http.Response) error {
	f := refusal(resp)
	if f == nil {
		return nil
	}
	after := resp.Header.Get("Retry-After")
	if f.status == http.StatusTooManyRequests || f.status == http.StatusServiceUnavailable && after != "" {
		return s.pause(name, retryAfter(after, time.Now()), f)
	}
	return f
}
