package credentials

import (
	"cmp"
	"context"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/text/unicode/norm"

	"github.com/gatepost-mail/gatepost/store"
)

// maxFolded is the maximum length of a folded text in bytes, as stores take it.
const maxFolded = 1024

// fold returns a text in the form in which names are sorted and searched: without
// case, and without the accents of Latin, Greek and Cyrillic letters. So "muller"
// finds "Müller" and stands beside it. The marks of other scripts stay, because there
// they are letters.
func fold(text string) string {
	text = norm.NFKD.String(strings.ToValidUTF8(text, ""))
	text = strings.Map(func(r rune) rune {
		if r == 0 || r >= 0x300 && r <= 0x36F { // combining diacritical marks
			return -1
		}
		return r
	}, strings.ToLower(text))
	text = letters.Replace(text)
	if len(text) <= maxFolded {
		return text
	}
	end := maxFolded
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end]
}

// users lists users. It first sets the SortName of those that have none, if the list
// depends on it: programs that knew no SortName have added them.
func (t Tenant) users(ctx context.Context, domain string, q store.Query) ([]store.User, store.Found, error) {
	if q.Search != "" {
		if err := t.setSortNames(ctx, domain); err != nil {
			return nil, store.Found{}, err
		}
	}
	users, found, err := t.m.Store.Users(ctx, t.id, domain, q)
	if err != nil || q.Order != store.ByName || len(missingSortNames(users)) == 0 {
		return users, found, err
	}
	if err := t.setSortNames(ctx, domain); err != nil {
		return nil, store.Found{}, err
	}
	return t.m.Store.Users(ctx, t.id, domain, q)
}

// setSortNames sets the SortName of all users of a domain that have none. They are the
// first ones by name. The first page has one user, because mostly there are none.
func (t Tenant) setSortNames(ctx context.Context, domain string) error {
	last := ""
	for limit := 1; ; limit = 500 {
		users, _, err := t.m.Store.Users(ctx, t.id, domain, store.Query{Limit: limit})
		if err != nil {
			return err
		}
		missing := missingSortNames(users)
		if len(missing) == 0 || users[0].Username == last {
			return nil
		}
		last = users[0].Username
		if err := t.m.Store.SetSortNames(ctx, t.id, missing); err != nil {
			return err
		}
	}
}

// missingSortNames returns the folded names of users without a SortName, by username. A
// name of which nothing is left is sorted by the username.
func missingSortNames(users []store.User) map[string]string {
	missing := make(map[string]string)
	for _, u := range users {
		if u.SortName == "" {
			missing[u.Username] = cmp.Or(fold(u.Name), u.Username)
		}
	}
	return missing
}

// letters replaces lower-case letters that Unicode does not take apart.
var letters = strings.NewReplacer("ß", "ss", "æ", "ae", "œ", "oe", "ø", "o", "ł", "l", "đ", "d", "ð", "d", "þ", "th", "ı", "i", "ς", "σ")

// foldDomain returns the folded Unicode form of a domain that is normalized.
func foldDomain(name string) string {
	if unicode, err := idna.ToUnicode(name); err == nil {
		name = unicode
	}
	return fold(name)
}
