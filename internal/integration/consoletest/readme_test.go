package consoletest_test

import (
	"bytes"
	"context"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/console"
	"github.com/gatepost-mail/gatepost/relay/history"
	"github.com/gatepost-mail/gatepost/relay/limits"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/memory"
)

// TestPictures writes the pictures of README and docs, with -readme.
func TestPictures(t *testing.T) {
	if *readme == "" {
		t.Skip("only with -readme=DIR")
	}
	b := open(t, look{width: 920, height: 1300, scale: 1.5})
	b.pictureUsers()
	b.pictureDomain()
	p := newPast(t, nil)
	st := p.Credentials.Store.(*memory.Store)
	month := limits.Limit{Max: 10_000}
	begin, _ := month.Period(time.Now())
	if _, err := st.Reserve(t.Context(), store.Reservation{
		Grant: store.Grant{Scope: "month/tenant/acme", Period: begin}, Max: month.Max, Used: 3_214, Until: time.Now().Add(time.Hour), Ended: time.Now().Add(-time.Hour),
	}); err != nil {
		t.Fatal(err)
	}
	p.Limits = &limits.Limiter{
		Store: st, Limits: func(context.Context, credentials.Identity) ([]limits.Limit, error) { return []limits.Limit{month}, nil },
		Next: relay.ForwarderFunc(nil),
	}
	for name, path := range sorted(map[string]string{"activity": "activity", "message": "activity/" + p.waits + "?n=1", "statistics": "statistics?period=30"}) {
		b.goTo(p.url + path)
		b.crop("console-"+name, 1100)
	}
	o := operate(t)
	for _, to := range []string{"bob@one.example", "carol@one.example", "dave@two.example"} {
		if err := o.Send("shop@acme.example", []string{to}, "From: shop@acme.example\nSubject: Invoice\n\nHello.\n"); err != nil {
			t.Fatal(err)
		}
	}
	o.deferred(3)
	b.goTo(o.url + "queue")
	b.crop("console-operator", 620)
}

// pictureUsers shows the users of a domain, and the page of a new password.
func (b *tab) pictureUsers() {
	b.Helper()
	const domain = "mycompany.com"
	st := new(memory.Store)
	acme := (&credentials.Manager{Store: st}).Tenant("acme")
	if _, err := acme.AddDomain(b.Context(), domain); err != nil {
		b.Fatal(err)
	}
	for name, ago := range sorted(map[string]time.Duration{
		"WordPress": 3 * time.Minute, "Invoices": 5 * time.Hour, "Newsletter": 2 * 24 * time.Hour, "Office printer": 40 * 24 * time.Hour, "CRM": 0,
	}) {
		u, _, err := acme.AddUser(b.Context(), domain, name)
		if err != nil {
			b.Fatal(err)
		}
		if ago == 0 {
			continue
		}
		at := time.Now().UTC().Add(-ago).Truncate(time.Microsecond)
		if err := st.RecordLogin(b.Context(), u.Username, 1, at, netip.MustParseAddr("192.0.2.10")); err != nil {
			b.Fatal(err)
		}
	}
	server := httptest.NewServer(&console.Handler{
		Credentials: &credentials.Manager{Store: st},
		SMTPHost:    "smtp.example.com",
		Tenant:      func(*http.Request) (store.TenantID, error) { return "acme", nil },
		History:     &history.History{Store: st},
	})
	b.Cleanup(server.Close)
	b.goTo(server.URL + "/domains/" + domain)
	b.clickOn(`document.querySelectorAll(".gatepost-menu summary")[1]`)
	b.crop("console-users", 700)
	b.goTo(server.URL + "/domains/" + domain + "/add")
	b.fill("Name", "Contact form")
	b.follow("Save", "Set up Contact form")
	b.crop("console-password", 900)
}

// pictureDomain shows the DNS records of a domain, one of which has the wrong name.
func (b *tab) pictureDomain() {
	b.Helper()
	z, set := withDNS(b.T)
	p := start(b.T, set)
	b.goTo(p.url + "domains/" + p.Domain)
	r := readRecords(b)[0]
	z.set(r.kind, r.name+"."+p.Domain, r.value)
	b.press("Check now")
	b.until(`document.querySelector(".gatepost-found")`)
	b.goTo(p.url + "domains/" + p.Domain)
	b.crop("console-domain", 820)
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
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&small, paletted(picture)); err != nil {
		b.Fatal(err)
	}
	if err := os.MkdirAll(*readme, 0o777); err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(*readme, name+".png"), small.Bytes(), 0o666); err != nil {
		b.Fatal(err)
	}
}

// paletted returns a picture with the 256 colours that it has most of, which takes a
// third of the bytes.
func paletted(picture image.Image) image.Image {
	area := picture.Bounds()
	counts := make(map[color.Color]int)
	for y := area.Min.Y; y < area.Max.Y; y++ {
		for x := area.Min.X; x < area.Max.X; x++ {
			counts[picture.At(x, y)]++
		}
	}
	colours := slices.SortedFunc(maps.Keys(counts), func(a, b color.Color) int { return counts[b] - counts[a] })
	to := image.NewPaletted(area, colours[:min(len(colours), 256)])
	draw.Draw(to, area, picture, area.Min, draw.Src)
	return to
}
