package console

import (
	"encoding/json"
	"fmt"
	"path"
	"strconv"
	"strings"
)

const defaultLanguage = "en"

// A language has the texts of one file in the folder lang, by their keys.
type language struct {
	Code  string
	Texts map[string]string
}

type languages map[string]*language

func loadLanguages() languages {
	all := make(languages)
	entries, err := files.ReadDir("lang")
	if err != nil {
		panic("console: " + err.Error()) // the folder is embedded
	}
	for _, entry := range entries {
		code := strings.TrimSuffix(entry.Name(), ".json")
		l := &language{Code: code}
		if err := json.Unmarshal(read(path.Join("lang", entry.Name())), &l.Texts); err != nil {
			panic(fmt.Sprintf("console: %s: %v", entry.Name(), err))
		}
		all[code] = l
	}
	return all
}

// choose returns the available language that an Accept-Language header (RFC 9110
// section 12.5.4) prefers. The default is English.
func (all languages) choose(accept string) *language {
	best, bestQ := all[defaultLanguage], 0.0
	for _, part := range strings.Split(accept, ",") {
		tag, weight, _ := strings.Cut(part, ";")
		code, _, _ := strings.Cut(strings.ToLower(strings.TrimSpace(tag)), "-")
		q, err := strconv.ParseFloat(strings.TrimPrefix(strings.TrimSpace(weight), "q="), 64)
		if err != nil {
			q = 1
		}
		if l, ok := all[code]; ok && q > bestQ {
			best, bestQ = l, q
		}
	}
	return best
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
