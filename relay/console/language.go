package console

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
)

const defaultLanguage = "en"

// A language has the texts of one file in the folder lang, by their keys.
type language struct {
	Code  string // in lower case
	Texts map[string]string
}

type languages map[string]*language

func loadLanguages() languages {
	all := make(languages)
	builtIn, err := fs.Sub(files, "lang")
	if err == nil {
		err = all.add(builtIn)
	}
	if err != nil {
		panic("console: folder lang: " + err.Error()) // the folder is embedded
	}
	return all
}

// add adds the texts of the files in a folder. A new language begins with the
// English texts.
func (all languages) add(folder fs.FS) error {
	names, err := fs.Glob(folder, "*.json")
	if err != nil {
		return err
	}
	for _, name := range names {
		content, err := fs.ReadFile(folder, name)
		if err != nil {
			return err
		}
		var texts map[string]string
		if err := json.Unmarshal(content, &texts); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		all.set(strings.ToLower(strings.TrimSuffix(path.Base(name), ".json")), texts)
	}
	return nil
}

func (all languages) set(code string, texts map[string]string) {
	l := all[code]
	if l == nil {
		l = &language{Code: code, Texts: make(map[string]string)}
		all[code] = l
		if english := all[defaultLanguage]; english != l && english != nil {
			for key, text := range english.Texts {
				l.Texts[key] = text
			}
		}
	}
	for key, text := range texts {
		l.Texts[key] = text
	}
}

// choose returns the language that was wanted. If it is not available, it returns the
// one that an Accept-Language header (RFC 9110 section 12.5.4) prefers. The default
// is English.
func (all languages) choose(wanted, accept string) *language {
	if l := all.find(wanted); l != nil {
		return l
	}
	best, bestQ := all[defaultLanguage], 0.0
	for _, part := range strings.Split(accept, ",") {
		tag, weight, _ := strings.Cut(part, ";")
		q, err := strconv.ParseFloat(strings.TrimPrefix(strings.TrimSpace(weight), "q="), 64)
		if err != nil {
			q = 1
		}
		if l := all.find(tag); l != nil && q > bestQ {
			best, bestQ = l, q
		}
	}
	return best
}

// find returns the language of a tag, or else the one of its first subtag (RFC 4647
// section 3.4), or nil.
func (all languages) find(tag string) *language {
	tag = strings.ToLower(strings.TrimSpace(tag))
	if l := all[tag]; l != nil {
		return l
	}
	code, _, _ := strings.Cut(tag, "-")
	return all[code]
}

func (l *language) text(key string, args []string) string {
	text, ok := l.Texts[key]
	if !ok {
		return key
	}
	if len(args) == 0 {
		return text
	}
	var pairs []string
	for i, arg := range args {
		pairs = append(pairs, "{"+strconv.Itoa(i)+"}", arg)
	}
	return strings.NewReplacer(pairs...).Replace(text)
}
