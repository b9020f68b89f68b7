package console_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay/console"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/memory"
)

func Example() {
	creds := &credentials.Manager{Store: new(memory.Store)}
	if _, err := creds.Tenant("acme").AddDomain(context.Background(), "acme.example"); err != nil {
		fmt.Println(err)
		return
	}
	h := &console.Handler{
		Credentials: creds,
		SMTPHost:    "smtp.example.com",
		Tenant: func(r *http.Request) (store.TenantID, error) {
			return "acme", nil // the product knows who is signed in
		},
	}
	mux := http.NewServeMux()
	mux.Handle("/smtp/", http.StripPrefix("/smtp", h))

	r := httptest.NewRequest("GET", "/smtp/", nil)
	r.Header.Set("Accept", "text/html")
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, r)
	fmt.Println(w.Code, strings.Contains(w.Body.String(), "acme.example"))
	// Output: 200 true
}
