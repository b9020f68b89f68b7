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

// Every case quotes the contract, and every sentence of the contract that a
// store can break is quoted by a case.
func TestCasesAreTheContract(t *testing.T) {
	source := contract(t)
	for _, p := range promises() {
		for _, sentence := range sentences(p.words) {
			if !strings.Contains(source.all, sentence) {
				t.Errorf("%s quotes %q, which package store doesn't say", p.name, sentence)
			}
		}
	}

	notTestable := []string{
		"A Store remembers domains and users.",
		"Callers pass valid UTF-8 without U+0000.",
		"It serves logins: it is the only way to a hash and the only read that names no tenant.",
	}
	for _, sentence := range sentences(source.store) {
		quoted := slices.ContainsFunc(promises(), func(p promise) bool { return strings.Contains(p.words, sentence) })
		if !quoted && !slices.Contains(notTestable, sentence) {
			t.Errorf("no case quotes %q", sentence)
		}
	}
}

func TestNamesAreUnique(t *testing.T) {
	seen := make(map[string]bool)
	for _, p := range promises() {
		if seen[p.name] {
			t.Errorf("two cases are called %s", p.name)
		}
		seen[p.name] = true
	}
}

// contract returns the text of package store's comments, and of those of the
// interface Store alone, each on one line.
func contract(t *testing.T) (text struct{ all, store string }) {
	t.Helper()
	const path = "../store/store.go"
	source, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	file, err := parser.ParseFile(token.NewFileSet(), path, source, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	var store ast.Node
	for _, decl := range file.Decls {
		if d, ok := decl.(*ast.GenDecl); ok && d.Tok == token.TYPE && d.Specs[0].(*ast.TypeSpec).Name.Name == "Store" {
			store = d
		}
	}
	if store == nil {
		t.Fatalf("%s has no type Store", path)
	}
	for _, c := range file.Comments {
		line := strings.Join(strings.Fields(c.Text()), " ") + " "
		text.all += line
		if c.Pos() >= store.(*ast.GenDecl).Doc.Pos() && c.End() <= store.End() {
			text.store += line
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
