package console

import (
	"net/netip"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay/domains"
	"github.com/gatepost-mail/gatepost/store"
)

// The types of JSON documents, as openapi.json describes them.

type domainDocument struct {
	Name           string     `json:"name"`
	Created        time.Time  `json:"created"`
	State          *string    `json:"state"` // of its DNS records; null without them
	UserCount      int        `json:"user_count"`
	LastConnection *time.Time `json:"last_connection"`
}

type domainsDocument struct {
	Domains []domainDocument `json:"domains"`
	pagesDocument
	Limit *int `json:"limit"`
}

// A pagesDocument is what lists of domains and users have beside their entries.
type pagesDocument struct {
	Matching int     `json:"matching"`
	Total    int     `json:"total"`
	Next     *string `json:"next"`
	Previous *string `json:"previous"`
}

func pagesOf(found store.Found) pagesDocument {
	return pagesDocument{found.Matching, found.All, nullable(found.Next), nullable(found.Previous)}
}

type userDocument struct {
	Username           string      `json:"username"`
	Name               string      `json:"name"`
	Domain             string      `json:"domain"`
	Generation         int64       `json:"generation"`
	Created            time.Time   `json:"created"`
	PasswordSet        time.Time   `json:"password_set"`
	LastConnection     *time.Time  `json:"last_connection"`
	LastConnectionFrom *netip.Addr `json:"last_connection_from"`
	OldPasswordUntil   *time.Time  `json:"old_password_until"`
	Suspended          *string     `json:"suspended"`
	DomainSuspended    *string     `json:"domain_suspended"`
}

type usersDocument struct {
	Domain domainDocument `json:"domain"`
	DNS    *dnsDocument   `json:"dns"`
	Users  []userDocument `json:"users"`
	pagesDocument
	Limit *int `json:"limit"`
}

type serverDocument struct {
	Host  string         `json:"host"`
	Ports []portDocument `json:"ports"`
}

type portDocument struct {
	Port       int    `json:"port"`
	Encryption string `json:"encryption"` // "starttls" or "tls"
}

type userAndServerDocument struct {
	User   userDocument   `json:"user"`
	Server serverDocument `json:"server"`
}

// Only credentialsDocument has a password.
type credentialsDocument struct {
	User     userDocument   `json:"user"`
	Password string         `json:"password"`
	Server   serverDocument `json:"server"`
}

type problemDocument struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	Code   string `json:"code"`
	Field  string `json:"field,omitempty"`

	User *userDocument `json:"user,omitempty"`
}

func documentOfDomain(d store.Domain, state domains.State) domainDocument {
	return domainDocument{d.Name, d.Created, nullable(string(state)), d.Users, nullable(d.LastConnection)}
}

func documentOfUser(u store.User) userDocument {
	return userDocument{u.Username, u.Name, u.Domain, u.Generation, u.Created, u.PasswordSet,
		nullable(u.LastConnection), nullable(u.LastConnectionFrom), nullable(u.OldUntil), nullable(u.Suspended), nullable(u.DomainSuspended)}
}

func (h *Handler) documentOfServer() serverDocument {
	d := serverDocument{Host: h.SMTPHost}
	for _, p := range h.ports() {
		d.Ports = append(d.Ports, portDocument{p.Number, p.Encryption})
	}
	return d
}

func (h *Handler) documentOfCredentials(u store.User, p credentials.Password) credentialsDocument {
	return credentialsDocument{documentOfUser(u), p.Reveal(), h.documentOfServer()}
}

// documentsOf returns the documents of a list. JSON shows an empty list as [].
func documentsOf[E, D any](list []E, document func(E) D) []D {
	documents := make([]D, 0, len(list))
	for _, e := range list {
		documents = append(documents, document(e))
	}
	return documents
}

// nullable returns nil for a zero value. JSON shows nil as null.
func nullable[T comparable](value T) *T {
	if value == *new(T) {
		return nil
	}
	return &value
}
