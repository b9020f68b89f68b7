package webhook

import (
	"net"
	"net/http"
	"reflect"
	"strings"
)

var Signatures = signatures

// SetTransport replaces how requests are made.
func (s *Sender) SetTransport(rt http.RoundTripper) error {
	if err := s.prepare(); err != nil {
		return err
	}
	s.client.Transport = rt
	return nil
}

// SetResolver replaces the look-up of names.
func (s *Sender) SetResolver(r *net.Resolver) { s.resolver = r }

// Documented returns the types and the names of the fields that requests have.
func Documented() (names []string) {
	for _, t := range types {
		names = append(names, t)
	}
	for _, t := range []reflect.Type{reflect.TypeFor[payload](), reflect.TypeFor[eventData](), reflect.TypeFor[replyData]()} {
		for i := range t.NumField() {
			name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
			names = append(names, name)
		}
	}
	return append(names, "webhook.test")
}
