package console

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"text/template"
)

// tools are the built-in tools in the order of the page: names of files in the folder
// settings.
var tools = []string{"wordpress", "laravel", "symfony", "phpmailer", "nodemailer", "django", "python", "postfix", "msmtp", "swaks"}

// A tool is a template of the folder settings, or of Handler.Tools.
type tool struct {
	id, name string
	text     *template.Template
}

// loadTools returns the built-in tools, changed and followed by those of more.
func loadTools(more fs.FS) ([]tool, error) {
	builtIn, err := fs.Sub(files, "settings")
	if err != nil {
		return nil, err
	}
	var list []tool
	for _, id := range tools {
		t, err := loadTool(builtIn, id)
		if err != nil {
			return nil, err
		}
		list = append(list, t)
	}
	if more == nil {
		return list, nil
	}
	names, err := fs.Glob(more, "*.txt")
	for _, name := range names {
		t, err := loadTool(more, strings.TrimSuffix(name, ".txt"))
		if err != nil {
			return nil, fmt.Errorf("console: Handler.Tools: %w", err)
		}
		list = place(list, t)
	}
	return list, err
}

// place puts a tool into the place of the one with its ID, or at the end. A tool
// without a text is left out.
func place(list []tool, t tool) []tool {
	i := slices.IndexFunc(list, func(other tool) bool { return other.id == t.id })
	switch {
	case i < 0 && t.text == nil:
		return list
	case i < 0:
		return append(list, t)
	case t.text == nil:
		return slices.Delete(list, i, i+1)
	}
	list[i] = t
	return list
}

// toolID is what the name of a tool's file may be: it becomes a part of an id in HTML.
var toolID = regexp.MustCompile(`^[a-z0-9-]+$`)

// loadTool reads a tool's file and tries it with an account.
func loadTool(folder fs.FS, id string) (tool, error) {
	if !toolID.MatchString(id) {
		return tool{}, fmt.Errorf("%s.txt: the name may have only the letters a to z, digits and hyphens", id)
	}
	content, err := fs.ReadFile(folder, id+".txt")
	if err != nil || len(bytes.TrimSpace(content)) == 0 {
		return tool{id: id}, err
	}
	t := tool{id: id, name: id}
	if t.text, err = template.New(id).Parse(string(content)); err != nil {
		return t, fmt.Errorf("%s.txt: %w", id, err)
	}
	if name := t.text.Lookup("name"); name != nil {
		var b strings.Builder
		if err := name.Execute(&b, nil); err != nil {
			return t, fmt.Errorf("%s.txt: %w", id, err)
		}
		t.name = b.String()
	}
	if err := t.text.Execute(io.Discard, account{Host: "smtp.example", Domain: "mycompany.example", Username: "u", Password: "p", Port: 465}); err != nil {
		return t, fmt.Errorf("%s.txt: %w", id, err)
	}
	return t, nil
}

// setting returns the text of the tool for an account.
func (t tool) setting(a account) (setting, error) {
	var b strings.Builder
	err := t.text.Execute(&b, a)
	return setting{t.id, t.name, strings.TrimSuffix(b.String(), "\n")}, err
}
