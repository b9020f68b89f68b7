package consoletest_test

import (
	"bytes"
	"context"
	"image/png"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay/console"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/memory"
)

// TestPictures writes the pictures of the README, with -readme.
func TestPictures(t *testing.T) {
	if *readme == "" {
		t.Skip("only with -readme=DIR")
	}
	const domain = "mycompany.com"
	st := new(memory.Store)
	acme := (&credentials.Manager{Store: st}).Tenant("acme")
	if _, err := acme.AddDomain(t.Context(), domain); err != nil {
		t.Fatal(err)
	}
	for name, ago := range sorted(map[string]time.Duration{
		"WordPress": 3 * time.Minute, "Invoices": 5 * time.Hour, "Newsletter": 2 * 24 * time.Hour, "Office printer": 40 * 24 * time.Hour, "CRM": 0,
	}) {
		u, _, err := acme.AddUser(t.Context(), domain, name)
		if err != nil {
			t.Fatal(err)
		}
		if ago == 0 {
			continue
		}
		at := time.Now().UTC().Add(-ago).Truncate(time.Microsecond)
		if err := st.RecordLogin(t.Context(), u.Username, 1, at, netip.MustParseAddr("192.0.2.10")); err != nil {
			t.Fatal(err)
		}
	}
	server := httptest.NewServer(&console.Handler{
		Credentials: &credentials.Manager{Store: st},
		SMTPHost:    "smtp.example.com",
		Tenant:      func(*http.Request) (store.TenantID, error) { return "acme", nil },
	})
	t.Cleanup(server.Close)

	b := open(t, look{width: 920, height: 720, scale: 1.5})
	b.goTo(server.URL + "/domains/" + domain)
	b.clickOn(`document.querySelectorAll(".gatepost-menu summary")[1]`)
	b.crop("console-users", 650)
	b.goTo(server.URL + "/domains/" + domain + "/add")
	b.fill("Name", "Contact form")
	b.follow("Save", "Set up Contact form")
	b.crop("console-password", 700)
}

// crop writes the upper part of the page with the best compression.
func (b *tab) crop(name string, height float64) {
	b.Helper()
	var shot []byte
	b.do(chromedp.Evaluate("scrollTo(0, 0)", nil), chromedp.Sleep(300*time.Millisecond), chromedp.ActionFunc(func(ctx context.Context) (err error) {
		shot, err = page.CaptureScreenshot().WithClip(&page.Viewport{Width: 920, Height: height, Scale: 1}).Do(ctx)
		return err
	}))
	picture, err := png.Decode(bytes.NewReader(shot))
	if err != nil {
		b.Fatal(err)
	}
	var small bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&small, picture); err != nil {
		b.Fatal(err)
	}
	if err := os.MkdirAll(*readme, 0o777); err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(*readme, name+".png"), small.Bytes(), 0o666); err != nil {
		b.Fatal(err)
	}
}
