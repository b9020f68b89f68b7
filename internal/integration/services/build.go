package services

import (
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// files is the directory of what lasts as long as the test binary.
var files struct {
	mu  sync.Mutex
	dir string
}

// Dir returns a directory that lasts until [Main] removes it.
func Dir() (string, error) {
	files.mu.Lock()
	defer files.mu.Unlock()
	if files.dir != "" {
		return files.dir, nil
	}
	dir, err := os.MkdirTemp("", "gatepost-*")
	files.dir = dir
	return dir, err
}

func removeDir() error {
	if files.dir == "" {
		return nil
	}
	return os.RemoveAll(files.dir)
}

var building sync.Mutex

// Build returns the path of a program of this repository, such as
// "examples/production". It builds the program once for each test binary.
func Build(t testing.TB, program string) (path string) {
	t.Helper()
	building.Lock()
	defer building.Unlock()
	dir, err := Dir()
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(dir, filepath.Base(program))
	if _, err := os.Stat(path); err == nil {
		return path
	}
	build := exec.Command("go", "build", "-o", path, "github.com/gatepost-mail/gatepost/"+program)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", build, err, out)
	}
	return path
}
