package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"text/tabwriter"
	"time"
)

// A document is something to print: as JSON, or as text for a person.
type document interface{ text(b *bytes.Buffer) }

// A printer prints documents. Several goroutines may.
type printer struct{ json bool }

func (p printer) print(d document) error {
	var b bytes.Buffer
	if !p.json {
		d.text(&b)
	} else if err := json.NewEncoder(&b).Encode(d); err != nil {
		return err
	}
	_, err := os.Stdout.Write(b.Bytes())
	return err
}

// ready says that the relay runs.
type ready struct {
	Console string `json:"console"` // where to manage users in a browser
	access
	destination
}

func (r ready) text(b *bytes.Buffer) {
	fmt.Fprintf(b, "%s manages the SMTP users, in a browser.\n\n", r.Console)
	fmt.Fprintf(b, "gatepost takes mail for %s; Ctrl-C stops it.\n\n", r.Domain)
	r.access.text(b)
	where := r.Outbox + "/ID.eml"
	if r.Upstream != "" {
		where = r.Upstream
	}
	if r.Waiting > 0 {
		fmt.Fprintf(b, "\nMail of an earlier run still waits for an -upstream (recipients: %d); -queue lists it.\n", r.Waiting)
	}
	fmt.Fprintf(b, "\nMessages go to %s. What happens:\n\n", where)
}

// deleted says that a user is gone.
type deleted struct {
	Username string `json:"deleted"`
}

func (d deleted) text(b *bytes.Buffer) {
	fmt.Fprintf(b, "deleted %s; its password works no more, and the username never comes back\n", d.Username)
}

// A listing shows users.
type listing struct {
	Users []listed `json:"users"`
}

type listed struct {
	Name               string     `json:"name"`
	Username           string     `json:"username"`
	Domain             string     `json:"domain"`
	LastConnection     time.Time  `json:"last_connection,omitzero"` // absent before the first
	LastConnectionFrom netip.Addr `json:"last_connection_from,omitzero"`
}

func (l listing) text(b *bytes.Buffer) {
	w := tabwriter.NewWriter(b, 0, 0, 3, ' ', 0)
	fmt.Fprintln(w, "NAME\tUSERNAME\tDOMAIN\tLAST CONNECTION")
	for _, u := range l.Users {
		last := "never"
		if !u.LastConnection.IsZero() {
			last = u.LastConnection.Local().Format(time.DateTime) + " from " + u.LastConnectionFrom.String()
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", u.Name, u.Username, u.Domain, last)
	}
	w.Flush()
}
