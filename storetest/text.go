package storetest

import (
	"slices"
	"strings"

	"github.com/gatepost-mail/gatepost/store"
)

// awkward are texts that change if a store quotes, folds, trims, normalizes or cuts
// them, or matches them as a pattern.
var awkward = []string{
	"'", `"`, "`", `\`, `\'; DROP TABLE users; --`, "%", "_", "?", "$1", ":a", "{users}", "a\nb", "\t", "\x1f", "a\x1fb", "&lt;", "\x7f",
	"a", "a ", "a  ", " a", "A", "á", "a\u0301", "Á", "ss", "ß", "ẞ", "i", "ı", "İ", "I",
	"ﬁ", "fi", "ｗｉｄｅ", "wide", "日本", "مرحبا", "\u200b", "a\u00a0", "a\u200d", "\ufeff",
	"📮", "👩‍👩‍👧‍👦", "👍", "👍🏽", "0", "00", "1e3", "1000", "null", "NULL", "true",
	strings.Repeat("🦄", 63), strings.Repeat("🦄", 62) + "🐴",
	strings.Repeat("x", 254), strings.Repeat("x", 253) + "y", strings.Repeat("x", 253),
}

// noIDs are texts that nothing can have as its ID.
var noIDs = []string{"\x00", "m1\x00", "\xff", "m1\xff", "\xc3\x28", "\xed\xa0\x80", "m1 ", "M1", "🦄", strings.Repeat("m", 5000)}

var textPromises = []promise{
	{
		name:  "Text/ByteByByte",
		words: "Tenants, domain names and usernames compare and sort byte by byte: case, accents and trailing spaces count.",
		check: func(t *tester) {
			t.fill(nil, nil)
			for _, s := range awkward {
				t.addDomain("tenant of "+acme, s)
				t.addDomain(store.TenantID(s), s+"+")
				t.addUser(acme, acmeDomain, s)
			}
			for _, s := range awkward {
				t.holds(newUser(acme, acmeDomain, s), hashOf(s))
				if got, want := t.domainNames(store.TenantID(s), store.Query{}), []string{s + "+"}; !slices.Equal(got, want) {
					t.Errorf("Domains(%q): got %q, want %q", s, got, want)
				}
			}
			want := slices.Sorted(slices.Values(awkward))
			if got := t.usernames(store.Query{}); !slices.Equal(got, want) {
				t.Errorf("Users:\n got %q\nwant %q", got, want)
			}
			for i, s := range awkward {
				t.ok(t.DeleteUser(t.Context(), acme, s), "DeleteUser(%q)", s)
				t.ok(t.DeleteDomain(t.Context(), store.TenantID(s), s+"+"), "DeleteDomain(%q)", s+"+")
				if got, want := len(t.usernames(store.Query{})), len(awkward)-i-1; got != want {
					t.Fatalf("Users after DeleteUser(%q): got %d, want %d", s, got, want)
				}
			}
		},
	},
	{
		name:  "Text/ComesBackAsItWentIn",
		words: "Text, times and addresses are returned exactly as they were given.",
		check: func(t *tester) {
			t.fill([]string{"u1"}, nil)
			u := newUser(acme, acmeDomain, "u1")
			texts := slices.Concat(awkward, []string{"", strings.Repeat("🦄", 64)})
			for _, s := range texts {
				u.Name, u.SortName = s, s
				t.ok(t.RenameUser(t.Context(), acme, "u1", s, s), "RenameUser to %q", s)
				t.ok(t.SetPassword(t.Context(), acme, "u1", u.Generation, s, day), "SetPassword, hash %q", s)
				u.Generation++
				t.holds(u, s)
			}
		},
	},
	{
		name: "Text/Long",
		words: "A Store takes tenants, domain names and usernames of up to 255 bytes, and names, sort names, hashes and reasons of up to 1,024 bytes. " +
			"It may refuse longer ones with an error of its own, but never cuts them.",
		check: func(t *tester) {
			key := strings.Repeat("k", 255)
			u := newUser(store.TenantID(key), key, key)
			u.Name, u.SortName = strings.Repeat("🦄", 256), strings.Repeat("s", 1024)
			hash := strings.Repeat("h", 1024)
			d := store.Domain{Tenant: u.Tenant, Name: u.Domain, SortName: u.SortName, Created: day}
			t.ok(t.AddDomain(t.Context(), d, 0), "AddDomain with texts as long as they may be")
			t.ok(t.AddUser(t.Context(), u, hash, 0), "AddUser with texts as long as they may be")
			t.holds(u, hash)

			longer := u
			longer.Username, longer.Name, longer.SortName = key+"2", u.Name+"2", u.SortName+"2"
			if t.AddUser(t.Context(), longer, hash+"2", 0) == nil {
				t.holds(longer, hash+"2")
			}
			renamed := u
			renamed.Name, renamed.SortName = strings.Repeat("n", 5000), strings.Repeat("m", 5000)
			if t.RenameUser(t.Context(), u.Tenant, u.Username, renamed.Name, renamed.SortName) == nil {
				u = renamed
			}
			t.holds(u, hash)
			if again := hash + "2"; t.SetPassword(t.Context(), u.Tenant, u.Username, u.Generation, again, u.PasswordSet) == nil {
				u.Generation, hash = u.Generation+1, again
			}
			t.holds(u, hash)
		},
	},
}
