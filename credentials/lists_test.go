package credentials_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/memory"
)

// Lists are sorted and searched without regard to case and accents.
func TestListsFold(t *testing.T) {
	f := newFixture(t)
	for _, name := range []string{"Zebra", "über", "Łódź", "MÜLLER", "Muller AG", "école", "Straße", "日本", "ﬁle", "İstanbul"} {
		f.add(name)
	}
	for query, want := range map[store.Query][]string{
		{}:                            {"billing", "école", "ﬁle", "İstanbul", "Łódź", "MÜLLER", "Muller AG", "Straße", "über", "Zebra", "日本"},
		{Search: "muller"}:            {"MÜLLER", "Muller AG"},
		{Search: "Mu\u0308LLer"}:      {"MÜLLER", "Muller AG"},
		{Search: "STRASSE"}:           {"Straße"},
		{Search: "lodz"}:              {"Łódź"},
		{Search: "FILE"}:              {"ﬁle"},
		{Search: "istanbul"}:          {"İstanbul"},
		{Search: "本"}:                 {"日本"},
		{Search: f.user.Username[3:]}: {"billing"},
		{Search: "\xff\x00zebra"}:     {"Zebra"},
		{Search: "%"}:                 nil,
	} {
		list, found, err := f.acme.Users(t.Context(), domain, query)
		must(t, err)
		var got []string
		for _, u := range list {
			got = append(got, u.Name)
		}
		if !slices.Equal(got, want) || found.Matching != len(want) || found.All != 11 {
			t.Errorf("Users(%+v): got %q and %+v, want %q", query, got, found, want)
		}
	}
}

// Users that older programs have added have no SortName: lists give them one.
func TestListsFoldUsersOfOlderPrograms(t *testing.T) {
	for query, want := range map[store.Query][]string{
		{}:                      {"billing", "Büro", "Büro 2", "\u0301", "Straße"},
		{Search: "Büro"}:        {"Büro", "Büro 2"},
		{Search: "buro"}:        {"Büro", "Büro 2"},
		{Search: "Straße"}:      {"Straße"},
		{Search: "b", Limit: 1}: {"billing"},
		{Search: "o 2"}:         {"Büro 2"},
		{Search: "older2"}:      {"\u0301"}, // by its username
	} {
		f := newFixture(t)
		for i, name := range []string{"Büro", "Straße", "\u0301", "Büro 2"} {
			u := store.User{Tenant: "acme", Domain: domain, Username: fmt.Sprint("older", i), Name: name, Generation: 1}
			must(t, f.Store.AddUser(t.Context(), u, "hash", 0))
		}
		for range 2 {
			list, _, err := f.acme.Users(t.Context(), domain, query)
			must(t, err)
			var got []string
			for _, u := range list {
				got = append(got, u.Name)
			}
			if !slices.Equal(got, want) {
				t.Errorf("Users(%+v): got %q, want %q", query, got, want)
			}
		}
	}
}

func TestDomainsFold(t *testing.T) {
	f := newFixture(t)
	for _, name := range []string{"zoo.example", "Über.example", "ubuntu.example"} {
		_, err := f.acme.AddDomain(t.Context(), name)
		must(t, err)
	}
	for search, want := range map[string][]string{
		"":         {domain, "xn--ber-goa.example", "ubuntu.example", "zoo.example"},
		"UBER":     {"xn--ber-goa.example"},
		"über.":    {"xn--ber-goa.example"},
		"xn--BER":  {"xn--ber-goa.example"},
		".example": {domain, "xn--ber-goa.example", "ubuntu.example", "zoo.example"},
	} {
		list, _, err := f.acme.Domains(t.Context(), store.Query{Search: search})
		must(t, err)
		var got []string
		for _, d := range list {
			got = append(got, d.Name)
		}
		if !slices.Equal(got, want) {
			t.Errorf("Domains(%q): got %q, want %q", search, got, want)
		}
	}
}

// A folded name fits into a store, whatever it is folded from.
func TestFoldedNameFits(t *testing.T) {
	f := newFixture(t)
	u, _ := f.add(strings.Repeat("\ufdfa", 64)) // each becomes 18 letters
	if n := len(u.SortName); n > 1024 || n < 1000 || !utf8.ValidString(u.SortName) {
		t.Errorf("got a SortName of %d bytes, valid: %t; want valid text of 1,000 to 1,024", n, utf8.ValidString(u.SortName))
	}
}

// The users of all domains of a tenant are one list.
func TestUsersOfAllDomains(t *testing.T) {
	f := newFixture(t)
	_, err := f.acme.AddDomain(t.Context(), "b.example")
	must(t, err)
	_, _, err = f.acme.AddUser(t.Context(), "b.example", "Archive")
	must(t, err)
	list, found, err := f.acme.Users(t.Context(), "", store.Query{})
	if err != nil || len(list) != 2 || list[0].Domain != "b.example" || list[1].Domain != domain || found.All != 2 {
		t.Errorf("got %+v, %+v, %v, want Archive and billing", list, found, err)
	}
	if list, _, err := f.Tenant("other").Users(t.Context(), "", store.Query{}); err != nil || len(list) > 0 {
		t.Errorf("another tenant: got %+v, %v, want none", list, err)
	}
	if _, _, err := f.Tenant("").Users(t.Context(), "", store.Query{}); err == nil {
		t.Error("no tenant: got no error")
	}
}

func TestLimits(t *testing.T) {
	failing := errors.New("no answer")
	m := &credentials.Manager{Store: new(memory.Store), Cost: cheap, Limits: func(_ context.Context, tenant store.TenantID) (int, int, error) {
		switch tenant {
		case "small":
			return 1, 2, nil
		case "broken":
			return 0, 0, failing
		}
		return 0, 0, nil
	}}
	small, free := m.Tenant("small"), m.Tenant("free")
	_, err := small.AddDomain(t.Context(), "a.example")
	must(t, err)
	_, err = small.AddDomain(t.Context(), "b.example")
	wantError(t, err, store.ErrLimit)
	_, err = small.AddDomain(t.Context(), "a.example")
	wantError(t, err, store.ErrTaken)
	for i, want := range []error{nil, nil, store.ErrLimit} {
		if _, _, err := small.AddUser(t.Context(), "a.example", "tool"); !errors.Is(err, want) {
			t.Errorf("user %d: got error %v, want %v", i+1, err, want)
		}
	}
	_, _, err = small.AddUserOnce(t.Context(), "a.example", "tool", "a key")
	wantError(t, err, store.ErrLimit)
	for _, name := range []string{"c.example", "d.example"} {
		_, err = free.AddDomain(t.Context(), name)
		must(t, err)
	}
	_, err = m.Tenant("broken").AddDomain(t.Context(), "e.example")
	wantError(t, err, failing)
	if domains, users, err := small.Limits(t.Context()); domains != 1 || users != 2 || err != nil {
		t.Errorf("Limits: got %d, %d, %v, want 1 and 2", domains, users, err)
	}
}
