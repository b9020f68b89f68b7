// Plainwords counts hard phrases in the comments of Go files and in Markdown
// files: turns that plain technical English does without. It ends with status 1
// if a package, or a Markdown file, has more than 2 of them per 1,000 words.
//
//	go run ./internal/plainwords [-show] [directory]
//
// A hit is a place to look at: a sentence without one can still be hard to read.
package main

import (
	"cmp"
	"flag"
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

const limit = 2.0 // hits per 1,000 words

// phrases match the hard phrases to count.
var phrases = []*regexp.Regexp{
	// A clause is the subject: "Who has a password gets in."
	regexp.MustCompile(`(?:^|[.;:] )(?:Who|What|Whoever|Whatever|Whose|Those who)\b[^?]*?(?:[.;:]|$)`),
	regexp.MustCompile(`\b(?:for|from|than|by|of|with|to) who(?:ever)?\b`),
	regexp.MustCompile(`(?:^|[.;:] )Of (?:several|these|those|all|many|any|each|one|two|an?|the)\b`),
	// A negation that needs a second look: "is no header field".
	regexp.MustCompile(`\b(?:is|are|was|were|be|makes) no (?:[a-z]+)`),
	regexp.MustCompile(`\bbut (?:for|that)\b`),
	regexp.MustCompile(`[,;] else\b`),
	// A person where the program has a client, a caller or a node.
	regexp.MustCompile(`(?i)\b(?:some|any|every|no)body\b`),
	// Words that say less than the field's own.
	regexp.MustCompile(`(?i)\b(?:troubles?|meanwhile|anew|in vain|of late|give or take|be had|come to nothing|comes of it)\b`),
	regexp.MustCompile(`\b(?:doesn't|don't|does not) (?:say|tell)\b|\b(?:says|tells) nothing\b`),
}

// plain are hits that are plain after all.
var plain = regexp.MustCompile(`\b(?:is|are|was|were|be|makes) no (?:longer|more|less|need|such)|: (?:What|Who) (?:is|to|if|about|does|happens)\b`)

func main() {
	show := flag.Bool("show", false, "print each hit")
	flag.Parse()
	texts, err := collect(cmp.Or(flag.Arg(0), "."))
	if err != nil {
		fmt.Fprintln(os.Stderr, "plainwords:", err)
		os.Exit(1)
	}
	ok := true
	for _, unit := range slices.Sorted(maps.Keys(texts)) {
		words, hits := count(texts[unit])
		if *show {
			for _, h := range hits {
				fmt.Println(h)
			}
		}
		if rate := 1000 * float64(len(hits)) / float64(max(words, 500)); rate > limit {
			ok = false
			fmt.Printf("%s: %.1f hard phrases per 1,000 words (%d in %d), at most %g are allowed; -show lists them\n", unit, rate, len(hits), words, limit)
		}
	}
	if !ok {
		os.Exit(1)
	}
}

// A text is a paragraph and where it is.
type text struct{ where, words string }

// collect returns the texts below a directory: by package, and by Markdown file.
func collect(root string) (map[string][]text, error) {
	texts := make(map[string][]text)
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		unit := filepath.ToSlash(rel)
		switch {
		case d.IsDir() && (d.Name() == "testdata" || d.Name() == "node_modules" || len(unit) > 1 && d.Name()[0] == '.'):
			return fs.SkipDir
		case strings.HasSuffix(unit, ".md"):
			found, err := markdown(name)
			texts[unit] = found
			return err
		case strings.HasSuffix(unit, ".go"):
			found, err := comments(name)
			unit = path.Dir(unit)
			texts[unit] = append(texts[unit], found...)
			return err
		}
		return nil
	})
	return texts, err
}

// comments returns the comments of a Go file, without code and directives.
func comments(name string) (found []text, err error) {
	files := token.NewFileSet()
	f, err := parser.ParseFile(files, name, nil, parser.ParseComments)
	if err != nil {
		return nil, err
	}
	for _, group := range f.Comments {
		where := files.Position(group.Pos())
		if output := group.Text(); !strings.HasPrefix(output, "Output:") {
			found = append(found, paragraphs(fmt.Sprintf("%s:%d", name, where.Line), output)...)
		}
	}
	return found, nil
}

// markdown returns the prose of a Markdown file.
func markdown(name string) ([]text, error) {
	content, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	prose := regexp.MustCompile("(?s)```.*?```|`[^`]*`").ReplaceAllString(string(content), "")
	return paragraphs(name, prose), nil
}

// paragraphs splits prose. Indented lines are code.
func paragraphs(where, prose string) (found []text) {
	var lines []string
	flush := func() {
		if len(lines) > 0 {
			found = append(found, text{where, strings.Join(lines, " ")})
		}
		lines = nil
	}
	for line := range strings.Lines(prose) {
		switch trimmed := strings.TrimSpace(line); {
		case trimmed == "" || strings.HasPrefix(trimmed, "#"): // headings are not sentences
			flush()
		case strings.HasPrefix(line, "\t") || strings.HasPrefix(line, "    "):
		case strings.HasPrefix(trimmed, "|") || strings.HasPrefix(trimmed, "- "):
			flush()
			lines = []string{strings.Trim(trimmed, "|- ")}
		default:
			lines = append(lines, trimmed)
		}
	}
	flush()
	return found
}

// count returns the number of words, and the hits.
func count(texts []text) (words int, hits []string) {
	for _, t := range texts {
		words += len(strings.Fields(t.words))
		for _, p := range phrases {
			for _, m := range p.FindAllString(t.words, -1) {
				if !plain.MatchString(m) {
					hits = append(hits, fmt.Sprintf("%s: %s", t.where, m))
				}
			}
		}
	}
	return words, hits
}
