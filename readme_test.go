package gatepost_test

import (
	"os"
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
