package main

import (
	"bytes"
	"context"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/sqlstore"
)

// waiting shows what the queue holds.
type waiting struct {
	Queue []waitingRecipient `json:"queue"`
}

// A waitingRecipient is one recipient of a message that is not settled yet.
type waitingRecipient struct {
	ID       string    `json:"id"` // of the message
	From     string    `json:"from"`
	To       string    `json:"to"`
	Received time.Time `json:"received"`
	Attempts int       `json:"attempts"`
	Next     time.Time `json:"next_try"`
	Held     bool      `json:"held,omitempty"`   // no next try: it can't be worked on
	Reason   string    `json:"reason,omitempty"` // why the last attempt failed
}

func listQueue(ctx context.Context, st *sqlstore.Store, _ options) (document, error) {
	list := waiting{Queue: []waitingRecipient{}}
	var page store.Page
	for {
		found, err := st.Deliveries(ctx, store.Filter{Tenant: tenant}, page)
		if err != nil || len(found) == 0 {
			return list, err
		}
		for _, f := range found {
			list.Queue = append(list.Queue, waitingRecipient{
				ID: f.Delivery.Mail, From: f.Mail.From, To: f.Delivery.Recipient, Received: f.Mail.Received,
				Attempts: f.Delivery.Attempts, Next: f.Delivery.Next, Held: f.Delivery.Held, Reason: f.Delivery.Reason,
			})
		}
		page.After = found[len(found)-1].Delivery.Key()
	}
}

func (l waiting) text(b *bytes.Buffer) {
	if len(l.Queue) == 0 {
		fmt.Fprintln(b, "nothing waits")
		return
	}
	w := tabwriter.NewWriter(b, 0, 0, 3, ' ', 0)
	fmt.Fprintln(w, "MESSAGE\tRECIPIENT\tATTEMPTS\tNEXT TRY\tREASON")
	for _, r := range l.Queue {
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\n", r.ID, printable(r.To), r.Attempts, r.nextTry(), printable(r.Reason))
	}
	w.Flush()
}

func (r waitingRecipient) nextTry() string {
	switch {
	case r.Held:
		return "never"
	case !r.Next.After(time.Now()):
		return "now"
	}
	return r.Next.Local().Format(time.DateTime)
}
