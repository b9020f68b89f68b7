package consoletest_test

import (
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatepost-mail/gatepost/internal/integration/services"
)

// TestGeneratedClient lints openapi.json, generates a TypeScript client from it, has the
// compiler check a program that uses the client, and runs that program.
func TestGeneratedClient(t *testing.T) {
	useClient(t, start(t), "client.mjs")
}

// As TestGeneratedClient, for webhooks and the suppression list.
func TestGeneratedClientOfHooks(t *testing.T) { useClient(t, startHooks(t), "hooks.mjs") }

// useClient lints the openapi.json of a console, generates a client and runs a program
// that uses it.
func useClient(t *testing.T, p product, program string) {
	t.Helper()
	dir := filepath.Dir(nodeModules(t))
	files := map[string][]byte{"openapi.json": fetch(t, p.url+"openapi.json")}
	for _, name := range []string{program, "lint.mjs"} {
		content, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		files[name] = content
	}
	for name, content := range sorted(files) {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	node := services.Program(t, "node")
	for _, command := range []string{
		"lint.mjs",
		"node_modules/openapi-typescript/bin/cli.js openapi.json --output schema.d.ts",
		"node_modules/typescript/bin/tsc --noEmit --strict --checkJs --skipLibCheck --target es2022 --module nodenext " + program,
		program + " " + strings.TrimSuffix(p.url, "/"),
	} {
		cmd := exec.CommandContext(t.Context(), node, strings.Split(command, " ")...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("node %s: %v\n%s", command, err, out)
		}
	}
}

// fetch returns what is at a URL.
func fetch(t *testing.T, url string) []byte {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatal(response.Status, err)
	}
	return content
}
