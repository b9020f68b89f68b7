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
