package consoletest_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/gatepost-mail/gatepost/internal/integration/services"
)

func TestMain(m *testing.M) { services.Main(m) }

// npmFile returns the content of a file of an npm package.
func npmFile(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(nodeModules(t), path))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// nodeModules returns the directory with the npm packages of package.json.
func nodeModules(t *testing.T) string {
	t.Helper()
	services.Program(t, "npm")
	dir, err := installPackages()
	if err != nil {
		services.Missing(t, err)
	}
	return dir
}

// installPackages installs the packages, in the versions of package-lock.json,
// into a directory that lasts until the tests end.
var installPackages = sync.OnceValues(func() (string, error) {
	dir, err := services.Dir()
	if err != nil {
		return "", err
	}
	for _, name := range []string{"package.json", "package-lock.json"} {
		content, err := os.ReadFile(name)
		if err != nil {
			return "", err
		}
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o666); err != nil {
			return "", err
		}
	}
	npm := exec.Command("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline")
	npm.Dir = dir
	if out, err := npm.CombinedOutput(); err != nil {
		return "", fmt.Errorf("npm ci: %w\n%s", err, out)
	}
	return filepath.Join(dir, "node_modules"), nil
})
