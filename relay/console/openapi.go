package console

import (
	"bytes"
	"encoding/json"
	"maps"
	"path"
	"slices"
)

// An apiFile is one file of the folder openapi: base.json, or what one part adds to it.
type apiFile struct {
	Info       map[string]string                     `json:"info"` // what differs from base.json
	Paths      map[string]json.RawMessage            `json:"paths"`
	Components map[string]map[string]json.RawMessage `json:"components"`
}

// openAPI returns openapi.json for the parts of a handler. It has the paths of its
// routes only.
func openAPI(title string, parts []Part, routes []route) []byte {
	var document map[string]json.RawMessage
	decode("base", &document)
	all := apiFile{Info: make(map[string]string), Paths: make(map[string]json.RawMessage), Components: make(map[string]map[string]json.RawMessage)}
	names := []string{"base"}
	for _, p := range parts {
		if names = append(names, string(p)); p == Domains {
			names = append(names, "users")
		}
	}
	for _, name := range names {
		var f apiFile
		decode(name, &f)
		maps.Copy(all.Info, f.Info)
		for p, item := range f.Paths {
			if slices.ContainsFunc(routes, func(rt route) bool { return rt.path == p }) {
				all.Paths[p] = item
			}
		}
		for kind, components := range f.Components {
			if all.Components[kind] == nil {
				all.Components[kind] = make(map[string]json.RawMessage)
			}
			for name, c := range components {
				all.Components[kind][name] = c
			}
		}
	}
	all.prune()
	all.Info["title"] = title
	document["info"] = mustMarshal(all.Info)
	document["paths"], document["components"] = mustMarshal(all.Paths), mustMarshal(all.Components)
	return mustMarshal(document)
}

// prune removes the schemas that nothing refers to, such as one of base.json that only
// some parts use.
func (f apiFile) prune() {
	schemas := f.Components["schemas"]
	for removed := true; removed; {
		removed = false
		text := append(mustMarshal(f.Paths), mustMarshal(f.Components)...)
		for name := range schemas {
			if !bytes.Contains(text, []byte(`"#/components/schemas/`+name+`"`)) {
				delete(schemas, name)
				removed = true
			}
		}
	}
}

func decode(name string, to any) { mustUnmarshal(read(path.Join("openapi", name+".json")), to) }

func mustUnmarshal(text []byte, to any) {
	if err := json.Unmarshal(text, to); err != nil {
		panic("console: folder openapi: " + err.Error()) // the folder is embedded
	}
}

func mustMarshal(v any) []byte {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		panic("console: folder openapi: " + err.Error())
	}
	return text
}
