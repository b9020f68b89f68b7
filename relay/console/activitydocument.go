package console

import (
	"time"

	"github.com/gatepost-mail/gatepost/relay/history"
	"github.com/gatepost-mail/gatepost/store"
)

// The types of the JSON documents about mail that was sent.

type replyDocument struct {
	Code     int    `json:"code"`
	Enhanced string `json:"enhanced"`
	Text     string `json:"text"`
	Host     string `json:"host"`
}

type activityDocument struct {
	Mail        string         `json:"mail"`
	N           int            `json:"n"`
	State       string         `json:"state"`
	Domain      string         `json:"domain"`
	Username    string         `json:"username"`
	From        string         `json:"from"`
	Author      string         `json:"author"`
	Recipient   string         `json:"recipient"`
	Subject     string         `json:"subject"`
	MessageID   string         `json:"message_id"`
	Size        int64          `json:"size"`
	Received    time.Time      `json:"received"`
	Updated     time.Time      `json:"updated"`
	Attempts    int            `json:"attempts"`
	NextAttempt *time.Time     `json:"next_attempt"`
	Reply       *replyDocument `json:"reply"`
	Field       string         `json:"field"`
	Reason      string         `json:"reason"`
	AdviceCode  *string        `json:"advice_code"`
	Advice      *string        `json:"advice"`
	Times       int            `json:"times"`
	Erased      bool           `json:"erased"`
}

type activitiesDocument struct {
	Activities []activityDocument `json:"activities"`
	Next       *string            `json:"next"`
}

type eventDocument struct {
	Kind        string         `json:"kind"`
	Time        time.Time      `json:"time"`
	Attempt     int            `json:"attempt"`
	NextAttempt *time.Time     `json:"next_attempt"`
	Reply       *replyDocument `json:"reply"`
	Reason      string         `json:"reason"`
}

type recipientDocument struct {
	activityDocument
	Events  []eventDocument `json:"events"`
	LeftOut int             `json:"left_out"`
}

type mailDocument struct {
	Mail       string              `json:"mail"`
	Recipients []recipientDocument `json:"recipients"`
	States     []stateDocument     `json:"states"`
	Next       *int                `json:"next"`
}

type stateDocument struct {
	State string `json:"state"`
	Count int    `json:"count"`
}

type mailChangedDocument struct {
	Changed int `json:"changed"`
	Busy    int `json:"busy"`
}

type countDocument struct {
	Accepted    int64 `json:"accepted"`
	Delivered   int64 `json:"delivered"`
	Deferred    int64 `json:"deferred"`
	SoftBounced int64 `json:"soft_bounced"`
	HardBounced int64 `json:"hard_bounced"`
	Rejected    int64 `json:"rejected"`
	Canceled    int64 `json:"canceled"`
	Bytes       int64 `json:"bytes"`
}

type spanDocument struct {
	From  time.Time `json:"from"`
	Until time.Time `json:"until"`
	countDocument
}

type partDocument struct {
	Domain   string `json:"domain"`
	Username string `json:"username,omitempty"`
	countDocument
}

type statisticsDocument struct {
	Period  spanDocument   `json:"period"`
	Before  spanDocument   `json:"before"`
	Steps   []spanDocument `json:"steps"`
	Domains []partDocument `json:"domains"`
	Users   []partDocument `json:"users"`
}

func documentOfReply(r store.Reply) *replyDocument {
	if r == (store.Reply{}) {
		return nil
	}
	return &replyDocument{r.Code, r.Enhanced, r.Text, r.Host}
}

func (req *request) documentOfActivity(a store.Activity) activityDocument {
	return activityDocument{
		a.Mail, a.N, req.Pill(a.State).Name, a.Domain, a.Username, a.From, a.Author, a.Recipient, a.Subject, a.MessageID, a.Size,
		a.Received, a.Updated, a.Attempt, nullable(a.NextAttempt), documentOfReply(a.Reply), a.Field, a.Reason,
		nullable(adviceOf(&a)), nullable(req.AdviceOn(a)), max(1, a.Times), a.Erased,
	}
}

func (req *request) documentOfRecipient(r history.Recipient) recipientDocument {
	return recipientDocument{req.documentOfActivity(r.Activity), documentsOf(r.Events, documentOfEvent), r.LeftOut}
}

func documentOfEvent(e store.Event) eventDocument {
	return eventDocument{nameOfKind(e.Kind), e.Time, e.Attempt, nullable(e.NextAttempt), documentOfReply(e.Reply), e.Reason}
}

func documentOfStates(counts map[store.ActivityState]int) []stateDocument {
	list := []stateDocument{}
	for _, s := range inOrder {
		if n := counts[s]; n > 0 {
			list = append(list, stateDocument{states[s].name, n})
		}
	}
	return list
}

func documentOfCount(c store.Count) countDocument {
	return countDocument{c.Accepted, c.Delivered, c.Deferred, c.SoftBounced, c.HardBounced, c.Rejected, c.Canceled, c.Bytes}
}

func (req *request) documentOfStatistics(d *statisticsData, counts []store.Count) statisticsDocument {
	s := &d.Statistics
	document := statisticsDocument{
		Period: spanDocument{s.Period.From, s.Period.Until, documentOfCount(s.Total)},
		Before: spanDocument{s.Previous.From, s.Previous.Until, documentOfCount(s.Before)},
		Steps: documentsOf(s.Steps, func(step history.Step) spanDocument {
			return spanDocument{step.From, step.Until, documentOfCount(step.Count)}
		}),
		Domains: []partDocument{}, Users: []partDocument{},
	}
	parts := documentsOf(counts, func(c store.Count) partDocument {
		return partDocument{c.Domain, c.Username, documentOfCount(c)}
	})
	if d.ByUser {
		document.Users = parts
	} else {
		document.Domains = parts
	}
	return document
}
