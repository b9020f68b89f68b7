package console

import (
	"cmp"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/store"
)

// A port is a port of the relay.
type port struct {
	Number     int
	Encryption string // "starttls" or "tls"
}

// Name returns the name of the encryption in the settings of most tools.
func (p port) Name() string {
	if p.Encryption == "starttls" {
		return "STARTTLS"
	}
	return "SSL/TLS"
}

// ports returns the ports that are offered, the recommended one first. That is
// the TLS port (RFC 8314 section 3.3): many tools use STARTTLS only if the server
// offers it, and an attacker on the network can remove the offer.
func (h *Handler) ports() []port {
	var list []port
	if h.PortTLS >= 0 {
		list = append(list, port{cmp.Or(h.PortTLS, 465), "tls"})
	}
	if h.PortSTARTTLS >= 0 {
		list = append(list, port{cmp.Or(h.PortSTARTTLS, 587), "starttls"})
	}
	return list
}

// An account is the data of the templates in the folder settings. Each template
// must make the tool refuse to log in without TLS.
type account struct {
	Host, Domain, Username, Password string
	Port                             int
	STARTTLS                         bool
}

// URL returns the account in the form that Nodemailer, Symfony and many other
// programs read. A URL with the scheme smtp does not require TLS by itself.
func (a account) URL() string {
	scheme := "smtps"
	if a.STARTTLS {
		scheme = "smtp"
	}
	u := url.URL{Scheme: scheme, User: url.UserPassword(a.Username, a.Password), Host: net.JoinHostPort(a.Host, strconv.Itoa(a.Port))}
	return u.String()
}

// env returns the account as lines of a .env file.
func (a account) env() string {
	encryption := "tls"
	if a.STARTTLS {
		encryption = "starttls"
	}
	return fmt.Sprintf("SMTP_HOST=%s\nSMTP_PORT=%d\nSMTP_ENCRYPTION=%s\nSMTP_USERNAME=%s\nSMTP_PASSWORD=%s", a.Host, a.Port, encryption, a.Username, a.Password)
}

// A setting is a text to copy with an account in it, for one tool or for any.
type setting struct{ ID, Name, Text string }

type credentialsData struct {
	connectionData
	Lead     string // what was just done
	Host     string
	Password string
	All      []setting // for any tool
	Tools    []setting
}

// credentials returns the page that shows a password.
func (req *request) credentials(status int, lead string, u store.User, p credentials.Password) response {
	ports := req.h.ports()
	a := account{
		Host: req.h.SMTPHost, Domain: u.Domain, Username: u.Username, Password: p.Reveal(),
		Port: ports[0].Number, STARTTLS: ports[0].Encryption == "starttls",
	}
	data := credentialsData{
		connectionData: connectionData{User: u, Connection: connection{User: u, State: useWaiting}, Ports: ports, Aside: true},
		Lead:           lead, Host: a.Host, Password: a.Password,
		All: []setting{
			{"plain", req.T("credentials.plain"), req.plain(a, ports)},
			{"env", req.T("credentials.env"), a.env()},
		},
	}
	if !a.STARTTLS { // no URL makes every tool require STARTTLS
		data.All = append(data.All, setting{"url", req.T("credentials.url"), a.URL()})
	}
	for _, t := range req.h.tools {
		s, err := t.setting(a)
		if err != nil { // the password must be shown all the same
			req.site.logger.ErrorContext(req.ctx(), "console: a file of Handler.Tools cannot be shown", "file", t.id+".txt", "error", err)
			continue
		}
		data.Tools = append(data.Tools, s)
	}
	return response{
		status:   status,
		template: "credentials",
		title:    req.T("credentials.title", u.Name),
		data:     data,
		document: req.h.documentOfCredentials(u, p),
	}
}

// plain returns the account in words, in the visitor's language.
func (req *request) plain(a account, ports []port) string {
	var b strings.Builder
	line := func(label, value string) { b.WriteString(req.T("plain.line", label, value) + "\n") }
	line(req.T("server"), a.Host)
	for i, p := range ports {
		label := req.T("port")
		if i > 0 {
			label = req.T("port.other")
		}
		line(label, fmt.Sprintf("%d (%s)", p.Number, p.Name()))
	}
	line(req.T("username"), a.Username)
	line(req.T("password"), a.Password)
	return strings.TrimSuffix(b.String(), "\n")
}
