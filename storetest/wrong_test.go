package storetest_test

import (
	"errors"
	"maps"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/memory"
	"github.com/gatepost-mail/gatepost/storetest"
)

// A mistake makes a store that breaks a promise. It names the case that fails and
// words that the case prints.
type mistake struct {
	make        func(store.Store) store.Store
	name, words string
}

var mistakes = map[string]mistake{
	"usernames are folded to lower case": {
		make:  func(s store.Store) store.Store { return folded{s} },
		name:  "Text/ByteByByte",
		words: "compare and sort byte by byte: case, accents and trailing spaces count",
	},
	"claims are not found by name": {
		make:  func(s store.Store) store.Store { return noClaims{s} },
		name:  "DomainsNamed/OfAllTenants",
		words: "DomainsNamed returns the domains of all tenants",
	},
	"trailing spaces are ignored": {
		make:  func(s store.Store) store.Store { return trimmed{s} },
		name:  "Text/ByteByByte",
		words: "case, accents and trailing spaces count",
	},
	"names are cut to fit the column": {
		make:  func(s store.Store) store.Store { return cut{s} },
		name:  "Text/Long",
		words: "but never cuts them",
	},
	"times are kept in milliseconds": {
		make:  func(s store.Store) store.Store { return milliseconds{s} },
		name:  "Times/ToTheMicrosecond",
		words: "Text, times and addresses are returned exactly as they were given.",
	},
	"the latest report of a login wins": {
		make:  func(s store.Store) store.Store { return lastReport{s, new(sync.Map)} },
		name:  "RecordLogin/NeverMovesBack",
		words: "It never sets a time back, and returns nil then",
	},
	"a login of an unknown user is ignored": {
		make:  func(s store.Store) store.Store { return ignoresUnknown{s} },
		name:  "RecordLogin/NotFound",
		words: "ErrNotFound: no tenant has such a user.",
	},
	"a username is free after its user was deleted": {
		make:  func(s store.Store) store.Store { return reissues{s} },
		name:  "DeleteUser/UsernameStaysOnRecord",
		words: "Its username stays on record and is never issued again.",
	},
	"the users of a domain are deleted one by one": {
		make:  func(s store.Store) store.Store { return inSteps{s} },
		name:  "Race/DomainDeletedWhileItIsRead",
		words: "every user of it, in one step",
	},
	"a username is free after its domain was deleted": {
		make:  func(s store.Store) store.Store { return reissues{s} },
		name:  "DeleteDomain/UsernamesStayOnRecord",
		words: "The usernames stay on record and are never issued again.",
	},
	"a refused AddUser uses the username": {
		make:  func(s store.Store) store.Store { return burns{s, new(sync.Map)} },
		name:  "AddUser/WholeOrNotAtAll",
		words: "If its error matches ErrNotFound, ErrTaken, ErrLimit or ErrConflict, it has changed nothing.",
	},
	"the tenant is ignored": {
		make:  func(s store.Store) store.Store { return anyTenant{s} },
		name:  "Tenants/Apart",
		words: "The error is the same if another tenant has it, so that no tenant learns of it.",
	},
	"a tenant may add its own domain again": {
		make:  func(s store.Store) store.Store { return addsTwice{s} },
		name:  "AddDomain/Taken",
		words: "ErrTaken: the tenant has a domain of this name, or another tenant has one and neither of the two is a Claim.",
	},
	"a name belongs to the first tenant": {
		make:  func(s store.Store) store.Store { return firstTenant{s, new(sync.Map)} },
		name:  "AddDomain/Claims",
		words: "Then other tenants may have a domain of the same name too",
	},
	"every domain is a claim": {
		make:  func(s store.Store) store.Store { return claims{s} },
		name:  "AddDomain/Taken",
		words: "or another tenant has one and neither of the two is a Claim.",
	},
	"Lookup caches the hash": {
		make:  func(s store.Store) store.Store { return cached{s, new(sync.Map)} },
		name:  "Handles/SeeEachOther",
		words: "every later call by any process that shares the store sees it",
	},
	"deleted users are counted": {
		make:  func(s store.Store) store.Store { return counter{s, new(atomic.Int64)} },
		name:  "Domain/SumsUpItsUsers",
		words: "They are computed when a domain is read",
	},
	"renaming to the same name changes no row": {
		make:  func(s store.Store) store.Store { return countsRows{s} },
		name:  "RenameUser/SameName",
		words: "The new ones may be the same as the old ones.",
	},
	"the last reset wins": {
		make:  func(s store.Store) store.Store { return anyGeneration{s} },
		name:  "SetPassword/Conflict",
		words: "ErrConflict: the user's Generation is not the given one.",
	},
	"a reset checks the generation before it writes": {
		make:  func(s store.Store) store.Store { return checksThenSets{s} },
		name:  "Race/Resets",
		words: "If several callers pass the same generation, exactly one call succeeds.",
	},
	"AddUser checks the domain before it writes": {
		make:  func(s store.Store) store.Store { return checksThenAdds{s} },
		name:  "Race/DomainDeletedWhileUsersAreAdded",
		words: "DeleteDomain removes the tenant's domain and every user of it, in one step.",
	},
	"the context is ignored": {
		make:  func(s store.Store) store.Store { return deaf{s} },
		name:  "Context/Ended",
		words: "If the context has already ended, a method returns the context's error and changes nothing.",
	},
	"a rename fails during other writes": {
		make:  func(s store.Store) store.Store { return busy{s} },
		name:  "Race/DifferentChanges",
		words: "got error busy, want no error",
	},
	"open returns nil": {
		make:  func(store.Store) store.Store { return nil },
		name:  "AddDomain/Records",
		words: "open returned nil, want a Store",
	},
	"a store of its own for each process": {
		make:  func(store.Store) store.Store { return new(memory.Store) },
		name:  "Handles/SeeEachOther",
		words: "When a method has returned nil, its change is durable",
	},
}

// variable is the environment variable with the mistake for TestWrongStore.
const variable = "STORETEST_MISTAKE"

// TestMistakes checks that each mistake makes its case fail, and that the case
// prints the broken promise.
func TestMistakes(t *testing.T) {
	for _, name := range slices.Sorted(maps.Keys(mistakes)) {
		m := mistakes[name]
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			suiteFails(t, "TestWrongStore", name, m.name, m.words)
		})
	}
}

// TestMistakes runs TestWrongStore in a process of its own.
func TestWrongStore(t *testing.T) {
	m, ok := mistakes[os.Getenv(variable)]
	if !ok {
		t.Skip("only TestMistakes runs this")
	}
	storetest.Run(t, func(*testing.T) func() store.Store {
		right := new(memory.Store)
		return func() store.Store { return m.make(right) }
	})
}

// suiteFails runs one case of the suite, in a test of this program that makes the
// mistake. It checks that the case fails and prints the words.
func suiteFails(t *testing.T, test, mistake, name, words string) {
	t.Helper()
	pattern := "^" + strings.ReplaceAll(regexp.QuoteMeta(test+"/"+name), "/", "$/^") + "$"
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run="+pattern, "-test.timeout=1m")
	cmd.Env = append(os.Environ(), variable+"="+mistake)
	out, err := cmd.CombinedOutput()
	if exit := new(exec.ExitError); !errors.As(err, &exit) {
		t.Fatalf("%s passes (%v), want it to fail:\n%s", name, err, out)
	}
	failed := section(string(out), "--- FAIL: "+test+"/"+name+" ")
	if failed == "" {
		t.Fatalf("%s did not run, want it to fail:\n%s", name, out)
	}
	if !strings.Contains(failed, "the promise: ") || !strings.Contains(failed, words) {
		t.Errorf("%s prints\n%s, want it to print %q", name, failed, words)
	}
}

// section returns the part of a test's output that begins with the header and
// ends before the next one.
func section(out, header string) string {
	_, rest, found := strings.Cut(out, header)
	if !found {
		return ""
	}
	own, _, _ := strings.Cut(rest, "--- FAIL: ")
	return own
}
