package console

import (
	"iter"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Every language has the same texts as English, with the same arguments. Other
// languages also translate the reasons of InvalidError, which are in English.
func TestLanguagesAreComplete(t *testing.T) {
	all := loadLanguages()
	english := all[defaultLanguage]
	place := regexp.MustCompile(`\{\d\}`)
	for code, l := range all {
		for key, text := range l.Texts {
			base, ok := english.Texts[key]
			if !ok {
				reason, isReason := strings.CutPrefix(key, "reason.")
				if !isReason || strings.HasPrefix(reason, "it ") && !slices.Contains(reasons(t), reason) {
					t.Errorf("%s: got the key %q, want only keys of English", code, key)
				}
				continue
			}
			if got, want := place.FindAllString(text, -1), place.FindAllString(base, -1); !slices.Equal(got, want) {
				t.Errorf("%s: %s: got arguments %q, want %q", code, key, got, want)
			}
		}
		for key := range english.Texts {
			if l.Texts[key] == "" {
				t.Errorf("%s: got no text %q, want one", code, key)
			}
		}
		if code == defaultLanguage {
			continue
		}
		for _, reason := range reasons(t) {
			if l.Texts["reason."+reason] == "" {
				t.Errorf("%s: got no translation of %q, want one", code, reason)
			}
		}
	}
}

// Other languages translate what package domains says of DNS records.
func TestDNSReasonsAreTranslated(t *testing.T) {
	french := loadLanguages()["fr"].Texts
	found := regexp.MustCompile(`(?:Reason: |reason :?= |doubled = )"([^"]+)"`).FindAllStringSubmatch(string(must(os.ReadFile("../domains/look.go"))), -1)
	if len(found) < 10 {
		t.Fatalf("got %d reasons, want at least 10", len(found))
	}
	for _, reason := range found {
		if french["reason."+reason[1]] == "" {
			t.Errorf("got no French for %q, want one", reason[1])
		}
	}
}

// reasons returns the reasons of the InvalidErrors of package credentials.
// Those about host names are in package mailtext.
func reasons(t *testing.T) []string {
	t.Helper()
	var all []string
	var files []string
	for _, pattern := range []string{"../../credentials/*.go", "../../internal/mailtext/*.go", "../domains/look.go"} {
		files = append(files, must(filepath.Glob(pattern))...)
	}
	literal := regexp.MustCompile(`"(it [^"]+)"`)
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range literal.FindAllStringSubmatch(string(source), -1) {
			all = append(all, found[1])
		}
	}
	if len(all) < 12 {
		t.Fatalf("got %d reasons, want at least 12: %q", len(all), all)
	}
	return all
}

// Every text that the templates and the code use exists, and every text is used.
func TestTextsAreUsed(t *testing.T) {
	english := loadLanguages()[defaultLanguage].Texts
	var source strings.Builder
	for _, pattern := range []string{"*.go", "templates/*.html"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if !strings.HasSuffix(file, "_test.go") {
				source.Write(must(os.ReadFile(file)))
			}
		}
	}
	for _, found := range regexp.MustCompile(`(?:\.T |\.T\()"([a-z.-]+)"`).FindAllStringSubmatch(source.String(), -1) {
		if _, ok := english[found[1]]; !ok && !strings.HasSuffix(found[1], ".") {
			t.Errorf("got no text %q, want one", found[1])
		}
	}
	for _, key := range slices.Sorted(maps.Keys(english)) {
		name := key
		for _, prefix := range []string{"problem.", "done.", "use."} {
			name = strings.TrimPrefix(name, prefix)
		}
		for _, suffix := range []string{".title", ".detail", ".advice"} {
			name = strings.TrimSuffix(name, suffix)
		}
		prefix := key[:strings.LastIndex(key, ".")+1]
		made := prefix != "" && (strings.Contains(source.String(), `"`+prefix+`"`) || strings.Contains(source.String(), `"`+prefix+`%s"`))
		if !strings.Contains(source.String(), `"`+key+`"`) && !strings.Contains(source.String(), `"`+name+`"`) && !made {
			t.Errorf("got the text %q, which is not used, want only used ones", key)
		}
	}
}

func must[V any](value V, err error) V {
	if err != nil {
		panic(err)
	}
	return value
}

func TestChoose(t *testing.T) {
	all := loadLanguages()
	for accept, want := range sorted(map[string]string{
		"":                               "en",
		"de":                             "en",
		"fr":                             "fr",
		"fr-CA":                          "fr",
		"FR-ca;q=0.8, en;q=0.9":          "en",
		"de, fr;q=0.5, en;q=0.4":         "fr",
		"*":                              "en",
		"en;q=0, fr;q=0.1":               "fr",
		"fr;q=nonsense":                  "fr",
		strings.Repeat("fr,", 1000) + "": "fr",
	}) {
		if got := all.choose("", accept).Code; got != want {
			t.Errorf("choose(%.40q) = %s, want %s", accept, got, want)
		}
	}
}

func TestWantsJSON(t *testing.T) {
	for _, test := range []struct {
		accept, contentType string
		want                bool
	}{
		{"", "", true},
		{"*/*", "", true},
		{"*/*", "application/json; charset=utf-8", true},
		{"text/html", "application/json", true},
		{"application/json", "", true},
		{"application/json, text/plain, */*", "", true},
		{"application/problem+json, application/json", "", true},
		{"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "", false},
		{"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "application/x-www-form-urlencoded", false},
		{"text/html, application/json", "", false},
		{"text/html;q=0.5, application/json;q=0.6", "", true},
		{"text/html;q=0, */*", "", true},
	} {
		header := http.Header{"Accept": {test.accept}, "Content-Type": {test.contentType}}
		if got := wantsJSON(header); got != test.want {
			t.Errorf("wantsJSON(Accept %q, Content-Type %q) = %v, want %v", test.accept, test.contentType, got, test.want)
		}
	}
}

// French has a no-break space inside guillemets and before : ; ? !
func TestFrenchSpaces(t *testing.T) {
	wrong := regexp.MustCompile(` [:;?!»]|[^\x{202f}\x{a0}][;?!»]|« |[^\x{a0}]: |\} (?:min|h|j)\b`)
	for key, text := range loadLanguages()["fr"].Texts {
		if found := wrong.FindString(text); found != "" {
			t.Errorf("%s: got %q in %q, want a no-break space", key, found, text)
		}
	}
}

// Every accent colour gets enough contrast.
func TestAccentsCanBeRead(t *testing.T) {
	for _, text := range []string{"#000000", "#ffffff", "#ffcc00", "#3355d4", "#00ff00", "#ff0000", "#808080", "#7f7fff"} {
		c := must(parseColour(text))
		for name, pair := range sorted(map[string][2]colour{
			"light":     {c.readable(lightBackground, black), lightBackground},
			"on accent": {c.readable(lightBackground, black), white},
			"dark":      {c.readable(darkBackground, white), darkBackground},
			"on dark":   {c.readable(darkBackground, white), must(parseColour("#111214"))},
		}) {
			if got := must(parseColour(pair[0].String())).contrast(pair[1]); got < 4.5 {
				t.Errorf("%s, %s: got contrast %.2f of %v on %v, want 4.5", text, name, got, pair[0], pair[1])
			}
		}
	}
	if got := white.contrast(black); got != 21 {
		t.Errorf("got contrast %v of white on black, want 21", got)
	}
	if got := must(parseColour("#3355d4")).readable(white, black).String(); got != "#3355d4" {
		t.Errorf("got %s for a readable colour, want the same colour", got)
	}
}

// sorted ranges over a table in the order of its keys.
func sorted[V any](table map[string]V) iter.Seq2[string, V] {
	return func(yield func(string, V) bool) {
		for _, key := range slices.Sorted(maps.Keys(table)) {
			if !yield(key, table[key]) {
				return
			}
		}
	}
}
