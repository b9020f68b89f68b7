package storetest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"slices"
	"strings"
	"testing"
)

// Every case quotes the contract, and some case quotes each sentence of the contract
// that a store can break.
func TestCasesAreTheContract(t *testing.T) {
	source := contract(t, "../store/store.go", "Store")
	var quotes []quote
	for _, p := range promises() {
		quotes = append(quotes, quote{p.name, p.words})
	}
	query, found := contract(t, "../store/query.go", "Query"), contract(t, "../store/query.go", "Found")
	agree(t, quotes, source.all+query.all, source.contract+query.contract+found.contract, []string{
		"A Query selects one page of a tenant's domains or users.",
		"Package credentials folds it as it folds SortName.",
		"Found is what a list says about itself beside the entries of one page.",
		"Next and Previous are for [Query].After and [Query].Before.",
		"A Store keeps domains and users.",
		"It is for users that a program added which knew no SortName.",
		"Callers pass valid UTF-8 without U+0000.",
		"It is for logins: no other method returns a hash, and every other read except DomainsNamed names a tenant.",
	})
}

// As TestCasesAreTheContract, for spools.
func TestSpoolCasesAreTheContract(t *testing.T) {
	source := contract(t, "../store/spool.go", "Spool")
	var quotes []quote
	for _, p := range spoolPromises() {
		quotes = append(quotes, quote{p.name, p.words})
	}
	for _, p := range recordPromises { // which say what becomes of events
		quotes = append(quotes, quote{p.name, p.words})
	}
	all := source.all + contract(t, "../store/filter.go", "Filter").all + contract(t, "../store/store.go", "Store").all +
		contract(t, "../store/history.go", "History").all + contract(t, "../store/event.go", "Event").all
	agree(t, quotes, all, source.contract, []string{"A Spool that is no History ignores them."})
}

// As TestCasesAreTheContract, for histories.
func TestHistoryCasesAreTheContract(t *testing.T) {
	source := contract(t, "../store/history.go", "History")
	var quotes []quote
	for _, p := range historyPromises() {
		quotes = append(quotes, quote{p.name, p.words})
	}
	all := source.all + contract(t, "../store/spool.go", "Spool").all + contract(t, "../store/event.go", "Event").all
	agree(t, quotes, all, source.contract, []string{
		"A History keeps what happened to messages.",
		"Package relay/history decides what follows from them; Apply makes those changes and removes the records in one step.",
		"A record that becomes visible later may be older than one that was returned before.",
		"A claim only saves work: Apply makes sure that nothing is done twice.",
	})
}

// As TestCasesAreTheContract, for allowances.
func TestAllowancesCasesAreTheContract(t *testing.T) {
	source := contract(t, "../store/allowances.go", "Allowances")
	var quotes []quote
	for _, p := range allowancePromises() {
		quotes = append(quotes, quote{p.name, p.words})
	}
	agree(t, quotes, source.all+contract(t, "../store/event.go", "Event").all, source.contract, []string{
		"An Allowances is a [History] that keeps how much of limits is used.",
		"Nodes reserve a part of a limit at a time, as a grant, and use it up without asking again.",
		"An event of kind [EventAccepted] names the grants that its recipient is taken from, and so the step that keeps a message is the one that uses them up.",
	})
}

// As TestCasesAreTheContract, for contents.
func TestContentsCasesAreTheContract(t *testing.T) {
	source := contract(t, "../store/contents.go", "Contents")
	var quotes []quote
	for _, p := range contentsPromises {
		quotes = append(quotes, quote{p.name, p.words})
	}
	agree(t, quotes, source.all, source.contract, []string{
		"A Contents keeps large message contents outside the tables of a [Spool]: in files, in object storage.",
		"A Spool that takes one gives each content a name of its own, keeps it before the mail and drops it after the mail.",
		"It belongs to one Spool, so that no other Spool drops what it does not know.",
		"The caller never uses a name twice.",
		"When Keep returns nil, the content is durable: it survives a crash and a power cut.",
		"Keep never holds a large content in memory as a whole, unless memory is where contents are kept.",
		"The caller closes it.",
		"A queue then sends the content without copying it first.",
	})
}

// As TestCasesAreTheContract, for suppressions.
func TestSuppressionsCasesAreTheContract(t *testing.T) {
	source := contract(t, "../store/suppressions.go", "Suppressions")
	var quotes []quote
	for _, p := range suppressionsPromises() {
		quotes = append(quotes, quote{p.name, p.words})
	}
	agree(t, quotes, source.all, source.contract, []string{
		"A Suppressions keeps suppressions.",
		"No key is in a list twice.",
		"Suppression returns one suppression.",
	})
}

// As TestCasesAreTheContract, for setups.
func TestSetupsCasesAreTheContract(t *testing.T) {
	source := contract(t, "../store/setups.go", "Setups")
	var quotes []quote
	for _, p := range setupsPromises() {
		quotes = append(quotes, quote{p.name, p.words})
	}
	agree(t, quotes, source.all, source.contract, []string{
		"A Setups keeps setups.",
		"SetSetup adds or changes a setup.",
	})
}

// As TestCasesAreTheContract, for endpoints.
func TestEndpointsCasesAreTheContract(t *testing.T) {
	source := contract(t, "../store/endpoints.go", "Endpoints")
	var quotes []quote
	for _, p := range endpointsPromises() {
		quotes = append(quotes, quote{p.name, p.words})
	}
	agree(t, quotes, source.all, source.contract, []string{
		"An Endpoints keeps endpoints, and the last requests to each.",
		"SetEndpoint adds or changes an endpoint.",
		"No tenant is in a list twice.",
	})
}

// A quote is the name of a case and the sentences that it quotes.
type quote struct{ name, words string }

// agree checks that all sentences in quotes are in all, and that quotes have all
// sentences of contract except those in notTestable.
func agree(t *testing.T, quotes []quote, all, contract string, notTestable []string) {
	t.Helper()
	for _, q := range quotes {
		for _, sentence := range sentences(q.words) {
			if !strings.Contains(all, sentence) {
				t.Errorf("%s quotes %q, which is not in package store", q.name, sentence)
			}
		}
	}
	for _, sentence := range sentences(contract) {
		quoted := slices.ContainsFunc(quotes, func(q quote) bool { return strings.Contains(q.words, sentence) })
		if !quoted && !slices.Contains(notTestable, sentence) {
			t.Errorf("no case quotes %q", sentence)
		}
	}
}

func TestNamesAreUnique(t *testing.T) {
	seen, spool := make(map[string]bool), make(map[string]bool)
	for _, p := range promises() {
		if seen[p.name] {
			t.Errorf("two cases are called %s", p.name)
		}
		seen[p.name] = true
	}
	for _, p := range historyPromises() {
		if seen["history "+p.name] {
			t.Errorf("two cases of the history are called %s", p.name)
		}
		seen["history "+p.name] = true
	}
	for _, p := range spoolPromises() {
		if spool[p.name] {
			t.Errorf("two cases of the spool are called %s", p.name)
		}
		spool[p.name] = true
	}
}

// contract returns the text of all comments in a file, and of the comments of the
// interface with the given name. Each is one line.
func contract(t *testing.T, path, name string) (text struct{ all, contract string }) {
	t.Helper()
	source, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	file, err := parser.ParseFile(token.NewFileSet(), path, source, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	var decl *ast.GenDecl
	for _, d := range file.Decls {
		if d, ok := d.(*ast.GenDecl); ok && d.Tok == token.TYPE && d.Specs[0].(*ast.TypeSpec).Name.Name == name {
			decl = d
		}
	}
	if decl == nil {
		t.Fatalf("%s has no type %s", path, name)
	}
	for _, c := range file.Comments {
		line := strings.Join(strings.Fields(c.Text()), " ") + " "
		text.all += line
		if c.Pos() >= decl.Doc.Pos() && c.End() <= decl.End() {
			text.contract += line
		}
	}
	return text
}

// sentences splits a text after each full stop that a space follows.
func sentences(text string) []string {
	var all []string
	for sentence := range strings.SplitAfterSeq(text, ". ") {
		if sentence = strings.TrimSpace(sentence); sentence != "" {
			all = append(all, sentence)
		}
	}
	return all
}
