package gatepost_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Every file that docs/flow.md names exists. A bare name such as pool.go is one of
// relay/internal/outbound.
func TestFlowNamesFiles(t *testing.T) {
	text, err := os.ReadFile("docs/flow.md")
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile("`([a-z0-9/]+\\.go|(relay|store|credentials|internal)/[a-z0-9/]+)`").FindAllSubmatch(text, -1)
	if len(names) < 40 {
		t.Errorf("found %d files in docs/flow.md, want at least 40", len(names))
	}
	for _, m := range names {
		name := string(m[1])
		if filepath.Base(name) == name {
			name = filepath.Join("relay/internal/outbound", name)
		}
		if _, err := os.Stat(name); err != nil {
			t.Errorf("docs/flow.md names %s: %v", m[1], err)
		}
	}
}

// Every message that the library logs at WARN or ERROR is in docs/operations.md.
func TestOperationsExplainsLogLines(t *testing.T) {
	text, err := os.ReadFile("docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	lines := logLines(t)
	if len(lines) < 30 {
		t.Errorf("found %d log lines in the source, want at least 30", len(lines))
	}
	for _, line := range lines {
		if !strings.Contains(string(text), "`"+line) {
			t.Errorf("docs/operations.md does not explain the log line %q", line)
		}
	}
}

// logLines returns the messages that packages of the library log at WARN and ERROR.
// A message that is put together is cut after its constant beginning.
func logLines(t *testing.T) (lines []string) {
	for _, root := range []string{"credentials", "relay", "store"} {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.Contains(path, "relaytest") {
				return err
			}
			f, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
			if err != nil {
				return err
			}
			ast.Inspect(f, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.CallExpr:
					if line := loggedBy(n); line != "" {
						lines = append(lines, line)
					}
				case *ast.GenDecl:
					lines = append(lines, constantLines(n, f.Name.Name)...)
				case *ast.FuncDecl:
					if n.Name.Name == "event" && n.Recv != nil && isLoud(n.Body) {
						lines = append(lines, f.Name.Name+": "+lastString(n.Body))
					}
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(lines)
	return slices.Compact(lines)
}

// constantLines returns the constants of a declaration that begin with the package's
// name: messages that are logged elsewhere, such as by History.report.
func constantLines(decl *ast.GenDecl, pkg string) (lines []string) {
	if decl.Tok != token.CONST {
		return nil
	}
	for _, text := range allStrings(decl) {
		if strings.HasPrefix(text, pkg+": ") {
			lines = append(lines, text)
		}
	}
	return lines
}

// loggedBy returns the message of a call that logs at WARN or ERROR, or "".
func loggedBy(call *ast.CallExpr) string {
	sel, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return ""
	}
	for i, arg := range call.Args {
		loud := false
		switch sel.Sel.Name {
		case "Warn", "Error":
			loud = i == 0
		case "WarnContext", "ErrorContext":
			loud = i == 1
		case "Log", "LogAttrs":
			loud = i == 2 && isLoud(call.Args[1])
		}
		if message := firstString(arg); loud && strings.Contains(message, ": ") {
			return message
		}
	}
	return ""
}

// isLoud reports whether the code names slog.LevelWarn or slog.LevelError.
func isLoud(n ast.Node) (loud bool) {
	ast.Inspect(n, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		loud = loud || ok && (sel.Sel.Name == "LevelWarn" || sel.Sel.Name == "LevelError")
		return !loud
	})
	return loud
}

func firstString(n ast.Node) string { return slices.Concat(allStrings(n), []string{""})[0] }

func lastString(n ast.Node) string {
	all := slices.Concat([]string{""}, allStrings(n))
	return all[len(all)-1]
}

func allStrings(n ast.Node) (all []string) {
	ast.Inspect(n, func(n ast.Node) bool {
		if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			text, _ := strconv.Unquote(lit.Value)
			all = append(all, strings.TrimSpace(text))
		}
		return true
	})
	return all
}
