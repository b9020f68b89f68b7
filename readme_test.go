package gatepost_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Each program in the README is a file of the repository that compiles, from its
// package clause on. A comment before the program names the file.
func TestReadmePrograms(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	programs := regexp.MustCompile("(?s)(?:<!-- (\\S+) -->\n)?```go\n(.*?)```").FindAllStringSubmatch(string(readme), -1)
	if len(programs) < 2 {
		t.Fatalf("got %d programs, want at least 2", len(programs))
	}
	for _, p := range programs {
		file, text := p[1], p[2]
		if file == "" {
			t.Errorf("no comment names the file of this program:\n%s", text)
			continue
		}
		source, err := os.ReadFile(file)
		if err != nil {
			t.Error(err)
			continue
		}
		if _, program, _ := strings.Cut(string(source), "\npackage main\n"); "package main\n"+program != text {
			t.Errorf("the README's program is not %s", file)
		}
	}
}

// Code in docs/ after a comment that names a file is a part of that file, which compiles.
func TestDocumentsCode(t *testing.T) {
	documents, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)<!-- (\\S+\\.go) -->\n *```go\n(.*?)```")
	blocks := 0
	for _, document := range documents {
		content, err := os.ReadFile(document)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range block.FindAllStringSubmatch(string(content), -1) {
			blocks++
			source, err := os.ReadFile(m[1])
			if err != nil {
				t.Errorf("%s: %v", document, err)
			} else if !strings.Contains(withoutIndents(string(source)), withoutIndents("\n"+m[2])) {
				t.Errorf("%s has code that is not in %s:\n%s", document, m[1], m[2])
			}
		}
	}
	if blocks < 2 {
		t.Errorf("found %d pieces of code, want at least 2", blocks)
	}
}

func withoutIndents(s string) string { return regexp.MustCompile(`\n[ \t]+`).ReplaceAllString(s, "\n") }

// A relative link in a document leads to a file of the repository.
func TestLinks(t *testing.T) {
	documents, err := filepath.Glob("*.md")
	if err != nil {
		t.Fatal(err)
	}
	more, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	link := regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`)
	for _, document := range append(documents, more...) {
		content, err := os.ReadFile(document)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(string(content), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(document), m[1])); err != nil {
				t.Errorf("%s: %v", document, err)
			}
		}
	}
}
