package e2e_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

// The quickstart's console and its relay are one: a reset on the page counts for
// the next login. Its address is the first thing that the quickstart says.
func TestConsole(t *testing.T) {
	r := startRelay(t)
	if term := openTerminal(t, t.TempDir()); !strings.HasPrefix(term.text, "http://127.0.0.1:") {
		t.Errorf("the quickstart began with %.60q", term.text)
	}

	var answer struct{ Password string }
	path := r.Console + "domains/" + r.Domain + "/users/" + r.Username + "/reset"
	if status := fetch(t, http.MethodPost, path, "", &answer); status != http.StatusOK || answer.Password == "" {
		t.Fatalf("the reset answered %d", status)
	}
	old := r.submission(false)
	r.Password = answer.Password
	if c, err := old.login(); err == nil {
		c.Close()
		t.Error("the old password works after a reset on the page")
	}
	if c, err := r.submission(false).login(); err != nil {
		t.Errorf("the new password: %v", err)
	} else {
		c.Close()
	}

	// A site can have its name lead to this machine, but not change it.
	if status := fetch(t, http.MethodGet, r.Console, "evil.example:2580", nil); status != http.StatusForbidden {
		t.Errorf("by another name the console answers %d", status)
	}
}

// fetch sends a request, and reads the answer into a value if that isn't nil.
func fetch(t *testing.T, method, url, host string, answer any) (status int) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	req.Host = host
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if answer != nil {
		if err := json.NewDecoder(res.Body).Decode(answer); err != nil {
			t.Fatal(err)
		}
	}
	return res.StatusCode
}
