package outbound

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
)

// A pause that a server has asked for and a limit that was learned are brakes, until
// they end.
func TestBrakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &Pool{Limits: func(string) Limits { return Limits{Conns: 3, Messages: 1, Rate: 0.1} }}
		reply := &relay.ReplyError{Code: 450, Enhanced: "4.7.1", Text: "too much mail", Host: "mx.test"}
		ticket, err := p.Admit(t.Context(), "slow", true)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Brakes(); len(got) != 1 || got[0].Kind != relay.BrakeRate || time.Until(got[0].Until) < 9*time.Second {
			t.Errorf("after a message: got %+v, want a rate", got)
		}
		ticket.Done(&Error{Host: "mx.test", Step: Mail, Reply: reply, Err: reply})
		got := p.Brakes()
		if len(got) != 1 || got[0].Kind != relay.BrakePause || got[0].Site != "slow" || !got[0].Until.After(time.Now()) || got[0].Reason == "" {
			t.Errorf("during a pause: got %+v, want it", got)
		}
		time.Sleep(time.Minute)
		if got := p.Brakes(); len(got) > 0 {
			t.Errorf("after the pause: got %+v", got)
		}
		h, _ := p.health.Get("slow")
		h.limit, h.limitedAt = 2, time.Now()
		if got := p.Brakes(); len(got) != 1 || got[0].Kind != relay.BrakeConnections || got[0].Limit != 2 {
			t.Errorf("with a learned limit: got %+v, want 2 connections", got)
		}
		time.Sleep(time.Minute)
		if got := p.Brakes(); len(got) > 0 {
			t.Errorf("when the limit was raised: got %+v", got)
		}
	})
}
