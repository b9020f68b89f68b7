package gatepost_test

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// What an embedder gets into its program, and no more. A new line here is a
// decision.
var (
	core = []string{
		"github.com/emersion/go-sasl",
		"github.com/emersion/go-smtp",
		"github.com/gatepost-mail/gatepost",
		"golang.org/x/crypto",
		"golang.org/x/net",
		"golang.org/x/sys",
		"golang.org/x/text",
	}
	all = append([]string{"github.com/emersion/go-msgauth"}, core...)
)

func TestCompiledDependencies(t *testing.T) {
	for _, test := range []struct {
		packages string
		want     []string
	}{
		{"./store/... ", []string{"github.com/gatepost-mail/gatepost"}},
		{"./credentials ./relay ./store/memory", core},
		{"./...", all},
	} {
		args := append([]string{"list", "-deps", "-f", "{{with .Module}}{{.Path}}{{end}}"}, strings.Fields(test.packages)...)
		list := exec.Command("go", args...)
		list.Env = append(os.Environ(), "GOOS=linux", "GOARCH=amd64") // others need less
		out, err := list.Output()
		if err != nil {
			t.Fatalf("go %s: %v", strings.Join(args, " "), err)
		}
		got := strings.Fields(string(out))
		slices.Sort(got)
		got = slices.Compact(got)
		want := slices.Sorted(slices.Values(test.want))
		if !slices.Equal(got, want) {
			t.Errorf("%s compiles\n%s\nwant\n%s", test.packages, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}
