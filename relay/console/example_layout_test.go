package console_test

import (
	"fmt"
	"html/template"
	"io"
	"net/http"
	"net/http/httptest"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay/console"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/memory"
)

// A Layout is the product's own page around the console: its navigation, style
// sheet and footer.
func ExampleHandler_layout() {
	layout := template.Must(template.New("").Parse(`<!doctype html>
<html lang="{{.Language}}">
<head><title>{{.Title}} – Acme</title>{{.Head}}</head>
<body><nav><a href="/billing/">Billing</a></nav><main>{{.Body}}</main></body>
</html>
`))
	h := &console.Handler{
		Credentials: &credentials.Manager{Store: new(memory.Store)},
		SMTPHost:    "smtp.example.com",
		Tenant:      func(*http.Request) (store.TenantID, error) { return "acme", nil },
		Design: console.Design{Layout: func(w io.Writer, _ *http.Request, p console.Page) error {
			return layout.Execute(w, p)
		}},
	}
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Accept", "text/html") // as browsers do
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	fmt.Printf("%.32s\n", w.Body)
	// Output:
	// <!doctype html>
	// <html lang="en">
}
