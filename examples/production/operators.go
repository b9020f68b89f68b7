package main

import (
	"crypto/subtle"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/console"
	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/relay/smarthost"
)

// operatorPages are the pages for those who run the relay. A browser asks for the
// name and the password. A product would use its own sign-in instead, with a name for
// each person.
func operatorPages(op *console.Operator, name string, password credentials.Password) http.Handler {
	op.By = func(r *http.Request) (string, error) {
		got, secret, _ := r.BasicAuth()
		if subtle.ConstantTimeCompare([]byte(got), []byte(name))&subtle.ConstantTimeCompare([]byte(secret), []byte(password.Reveal())) == 0 {
			return "", errors.New("no operator is signed in")
		}
		return name, nil
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := op.By(r); err != nil {
			w.Header().Set("WWW-Authenticate", `Basic realm="operators", charset="UTF-8"`)
			http.Error(w, "sign in as operator", http.StatusUnauthorized)
			return
		}
		op.ServeHTTP(w, r)
	})
}

// brakes returns what this process holds back: for the queue's limits, and for those of
// the upstream.
func brakes(q *queue.Queue, upstream *smarthost.Forwarder) func() []relay.Brake {
	return func() []relay.Brake { return relay.SortBrakes(append(q.Brakes(), upstream.Brakes()...)) }
}

// serveTLS serves pages with the relay's certificate until the server is closed.
func serveTLS(addr string, config *tls.Config, h http.Handler) (*http.Server, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	pages := &http.Server{Handler: h, TLSConfig: config, ReadTimeout: 10 * time.Second}
	go pages.ServeTLS(l, "", "")
	return pages, nil
}
