package relay_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// provokedElsewhere lists replies that the table does not provoke. Each has the name
// of a test that provokes it, or the reason why no test can.
var provokedElsewhere = map[string]string{
	"closing the connection, try again later":                          "TestSessionEnded",
	"the connection broke before the message was complete":             "TestSessionEnded",
	"too many connections from your address, try again later":          "TestConnRefused",
	"too many connections, try again later":                            "TestConnRefused",
	"too many connections of this user, try again later":               "TestTooManyConnsOfUser",
	"too many connections of this user, the oldest idle one is closed": "TestMaxConnsPerUser",
	"AUTH is not possible during a message":                            "go-smtp refuses a second AUTH before the session is asked",
	"malformed AUTH parameter":                                         "like any malformed parameter",
	"out of storage, try again later":                                  "needs a full disk",
	"the server is closing":                                            "is not sent",
	"accepted as ":                                                     "is a 250",
	"recipient accepted":                                               "is a 250",
	"Max message size exceeded":                                        "is what go-smtp says",
}

// TestEveryRefusalIsInTheTable reads the replies out of the source of the package.
// Each has to be the Reason of an event of the table, or of provokedElsewhere.
func TestEveryRefusalIsInTheTable(t *testing.T) {
	reasons := make(map[string]bool)
	for _, test := range refusalTable {
		_, events := test.play(t)
		for _, e := range events {
			_, reason := refusalOf(e)
			reasons[reason] = true
		}
	}
	for _, reply := range repliesInSource(t) {
		if provokedElsewhere[reply] != "" {
			continue
		}
		pattern := regexp.MustCompile("^" + regexp.MustCompile(`%[a-z]`).ReplaceAllString(regexp.QuoteMeta(reply), ".*") + "$")
		if !slices.ContainsFunc(slices.Collect(maps.Keys(reasons)), pattern.MatchString) {
			t.Errorf("no dialogue in refusalTable provokes the reply %q: add one", reply)
		}
	}
}

// repliesInSource returns the texts of the 4yz and 5yz replies in the package: those
// in composite literals of type reply, and strings that begin with a code.
func repliesInSource(t *testing.T) []string {
	files, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	coded := regexp.MustCompile(`^[45][0-9][0-9] [45]\.[0-9]+\.[0-9]+ (.*?)(\r\n)?$`)
	var texts []string
	for _, file := range files {
		if !strings.HasSuffix(file.Name(), ".go") || strings.HasSuffix(file.Name(), "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), file.Name(), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.KeyValueExpr:
				if key, ok := n.Key.(*ast.BasicLit); ok && key.Kind == token.STRING {
					ast.Inspect(n.Value, func(v ast.Node) bool { texts = appendReply(texts, v, coded); return true })
					return false // the key is what go-smtp says
				}
				if key, ok := n.Key.(*ast.Ident); ok && key.Name == "text" {
					ast.Inspect(n.Value, func(v ast.Node) bool {
						if lit, ok := v.(*ast.BasicLit); ok && lit.Kind == token.STRING {
							text, _ := strconv.Unquote(lit.Value)
							texts = append(texts, text)
						}
						return true
					})
				}
			default:
				texts = appendReply(texts, n, coded)
			}
			return true
		})
	}
	slices.Sort(texts)
	return slices.Compact(texts)
}

func appendReply(texts []string, n ast.Node, coded *regexp.Regexp) []string {
	lit, ok := n.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return texts
	}
	text, _ := strconv.Unquote(lit.Value)
	if m := coded.FindStringSubmatch(text); m != nil {
		texts = append(texts, m[1])
	}
	return texts
}
