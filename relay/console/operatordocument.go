package console

import (
	"cmp"
	"net/netip"
	"strings"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/history"
	"github.com/gatepost-mail/gatepost/store"
)

// The types of JSON documents of an Operator, as its openapi.json describes them.

type overviewDocument struct {
	Deliveries  int64                `json:"deliveries"`
	Held        int64                `json:"held"`
	Oldest      *time.Time           `json:"oldest"`
	Journal     *journalDocument     `json:"journal"`
	Nodes       []string             `json:"nodes"`
	Suspensions []suspensionDocument `json:"suspensions"`
	Brakes      []brakeDocument      `json:"brakes"`
}

type journalDocument struct {
	Records int64      `json:"records"`
	Oldest  *time.Time `json:"oldest"`
}

type suspensionDocument struct {
	Tenant      *string    `json:"tenant"`
	Destination *string    `json:"destination"`
	By          *string    `json:"by"`
	Reason      string     `json:"reason"`
	Since       time.Time  `json:"since"`
	Until       *time.Time `json:"until"`
	Failures    int        `json:"failures"`
}

type brakeDocument struct {
	Kind    string     `json:"kind"`
	Site    string     `json:"site"`
	Limit   int        `json:"limit"`
	Waiting int        `json:"waiting"`
	Until   *time.Time `json:"until"`
	Reason  string     `json:"reason"`
}

type lanesDocument struct {
	Counted time.Time      `json:"counted"`
	Groups  []laneDocument `json:"groups"`
	Total   int            `json:"total"`
	Next    *string        `json:"next"`
}

type laneDocument struct {
	Tenant      *string    `json:"tenant"`
	Destination *string    `json:"destination"`
	Deliveries  int64      `json:"deliveries"`
	Sending     int64      `json:"sending"`
	Held        int64      `json:"held"`
	Oldest      *time.Time `json:"oldest"`
	Suspended   *string    `json:"suspended"`
}

type deliveriesDocument struct {
	Deliveries []deliveryDocument `json:"deliveries"`
	Next       *string            `json:"next"`
}

type deliveryDocument struct {
	Key         string      `json:"key"`
	Message     string      `json:"message"`
	Tenant      string      `json:"tenant"`
	Domain      string      `json:"domain"`
	Username    string      `json:"username"`
	From        string      `json:"from"`
	Recipient   string      `json:"recipient"`
	Destination string      `json:"destination"`
	State       string      `json:"state"`
	Received    time.Time   `json:"received"`
	Size        int64       `json:"size"`
	Client      *netip.Addr `json:"client"`
	Attempts    int         `json:"attempts"`
	Tried       *time.Time  `json:"tried"`
	NextAttempt *time.Time  `json:"next_attempt"`
	Reason      string      `json:"reason"`
	Node        *string     `json:"node"`
}

type foundDocument struct {
	Users   []foundUserDocument   `json:"users"`
	Domains []foundDomainDocument `json:"domains"`
	Message *string               `json:"message"`
}

type foundUserDocument struct {
	Tenant string `json:"tenant"`
	userDocument
	Suspended string `json:"suspended"`
}

type foundDomainDocument struct {
	Tenant         string     `json:"tenant"`
	Name           string     `json:"name"`
	Claim          bool       `json:"claim"`
	Created        time.Time  `json:"created"`
	UserCount      int        `json:"user_count"`
	LastConnection *time.Time `json:"last_connection"`
	Suspended      string     `json:"suspended"`
}

type messageOfAllDocument struct {
	Message    string                `json:"message"`
	Tenant     string                `json:"tenant"`
	Recipients []recipientOfDocument `json:"recipients"`
	Waiting    []deliveryDocument    `json:"waiting"`
	Next       *string               `json:"next"`
}

type recipientOfDocument struct {
	Recipient string                  `json:"recipient"`
	State     string                  `json:"state"`
	Updated   time.Time               `json:"updated"`
	Said      string                  `json:"said"`
	Events    []operatorEventDocument `json:"events"`
}

type operatorEventDocument struct {
	Event string    `json:"event"`
	Time  time.Time `json:"time"`
	Said  string    `json:"said"`
	Host  string    `json:"host"`
}

type changedDocument struct {
	Done  int     `json:"done"`
	Busy  int     `json:"busy"`
	After *string `json:"after"`
}

func documentOfOverview(d overviewData) overviewDocument {
	doc := overviewDocument{
		Deliveries: d.Depth.Deliveries, Held: d.Depth.Held, Oldest: nullable(d.Depth.Oldest), Nodes: append([]string{}, d.Nodes...),
		Suspensions: documentsOf(d.Suspensions, func(s suspension) suspensionDocument {
			tenant, destination := whichOf(s.Tenant != "", string(s.Tenant), s.Destination)
			return suspensionDocument{tenant, destination, nullable(s.By), strings.ToValidUTF8(s.Reason, "?"), s.Since, nullable(s.Until), s.Failures}
		}),
		Brakes: documentsOf(d.Brakes, func(b relay.Brake) brakeDocument {
			return brakeDocument{string(b.Kind), b.Site, b.Limit, b.Waiting, nullable(b.Until), b.Reason}
		}),
	}
	if d.Journal != nil {
		doc.Journal = &journalDocument{d.Journal.Records, nullable(d.Journal.Oldest)}
	}
	return doc
}

// whichOf returns a tenant or a destination; the other is nil.
func whichOf(isTenant bool, tenant, destination string) (t, d *string) {
	if isTenant {
		return &tenant, nil
	}
	return nil, &destination
}

func documentOfLanes(d lanesData, next string) lanesDocument {
	return lanesDocument{d.Counted.UTC(), documentsOf(d.Groups, func(g group) laneDocument {
		tenant, destination := whichOf(d.ByTenant, g.Name, g.Name)
		return laneDocument{tenant, destination, g.Deliveries, g.Leased, g.Held, nullable(g.Oldest), nullable(string(g.State))}
	}), d.Total, nullable(next)}
}

func documentOfDeliveries(list []store.Leased, next string) deliveriesDocument {
	return deliveriesDocument{documentsOf(list, documentOfDelivery), nullable(next)}
}

func documentOfDelivery(l store.Leased) deliveryDocument {
	m, d := l.Mail, l.Delivery
	valid := func(s string) string { return strings.ToValidUTF8(s, "?") }
	return deliveryDocument{
		d.Key(), d.Mail, string(m.Tenant), valid(m.Domain), valid(m.Username), valid(m.From), valid(d.Recipient), valid(d.Destination), stateName(d.State()),
		m.Received, m.Size, nullable(m.Remote), d.Attempts, nullable(d.Tried), nullable(d.Next), valid(d.Reason), nullable(d.Node),
	}
}

func documentOfFound(d searchData) foundDocument {
	return foundDocument{
		documentsOf(d.Users, func(u store.User) foundUserDocument {
			return foundUserDocument{string(u.Tenant), documentOfUser(u), cmp.Or(u.Suspended, u.DomainSuspended)}
		}),
		documentsOf(d.Domains, func(d store.Domain) foundDomainDocument {
			return foundDomainDocument{string(d.Tenant), d.Name, d.Claim, d.Created, d.Users, nullable(d.LastConnection), d.Suspended}
		}),
		nullable(d.Message),
	}
}

func documentOfMessageOfAll(d operatorMessageData, next string) messageOfAllDocument {
	return messageOfAllDocument{d.ID, string(d.Tenant), documentsOf(d.Recipients, func(r history.Recipient) recipientOfDocument {
		return recipientOfDocument{r.Recipient, nameOfState(r.State), r.Updated, strings.ToValidUTF8(cmp.Or(r.Reply.String(), r.Reason), "?"), documentsOf(r.Events, func(e store.Event) operatorEventDocument {
			return operatorEventDocument{nameOfKind(e.Kind), e.Time, strings.ToValidUTF8(cmp.Or(e.Reply.String(), e.Reason), "?"), e.Reply.Host}
		})}
	}), documentsOf(d.Waiting, documentOfDelivery), nullable(next)}
}
